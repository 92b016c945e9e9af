"""Building ONNX graphs node by node.

One opset and one IR version for all models, old enough for every onnxruntime the hub supports.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from models.task import CONTEXT_FEATURES, WINDOW

OPSET: Final = 15
ML_OPSET: Final = 3
_IR_VERSION: Final = 8


class GraphBuilder:
    """Collects nodes; every method returns the name of the tensor it made."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._numbers = count()

    def constant(self, values: NDArray[Any] | float | list[int]) -> str:
        """A constant: floats become float32, integers int64."""
        array = np.asarray(values)
        kind = np.int64 if np.issubdtype(array.dtype, np.integer) else np.float32
        name = f"c{next(self._numbers)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype=kind), name))
        return name

    def add(self, op: str, *inputs: str, output: str | None = None, skip: int = 0, **attributes: Any) -> str:
        """A node with one output used; `skip` leaves out the outputs before it."""
        name = output or f"t{next(self._numbers)}"
        self._nodes.append(helper.make_node(op, list(inputs), [""] * skip + [name], **attributes))
        return name

    def columns(self, tensor: str, start: int, end: int) -> str:
        """Columns [start, end) of a [n, m] tensor; negative numbers count from the end."""
        bounds = [self.constant([start]), self.constant([end]), self.constant([1])]
        return self.add("Slice", tensor, *bounds)

    def linear(self, tensor: str, weights: NDArray[Any], bias: NDArray[Any] | float) -> str:
        """Tensor [n, d] times weights [d, m] plus bias."""
        product = self.add("MatMul", tensor, self.constant(np.asarray(weights, dtype=np.float32)))
        return self.add("Add", product, self.constant(np.asarray(bias, dtype=np.float32)))

    def absorb(self, model: onnx.ModelProto, feed: str) -> list[str]:
        """Take in the graph of a model with one input, fed from a tensor here; the names of its outputs."""
        inner = compose.add_prefix(model, f"m{next(self._numbers)}_").graph
        self.add("Identity", feed, output=inner.input[0].name)
        self._nodes.extend(inner.node)
        self._constants.extend(inner.initializer)
        return [item.name for item in inner.output]

    def finish(self, outputs: Mapping[str, str], *, rank: int) -> bytes:
        """The checked model with the task's inputs; `outputs` gives each output's name its tensor."""
        for name, tensor in outputs.items():
            self.add("Identity", tensor, output=name)
        graph = helper.make_graph(
            self._nodes,
            "central-hub",
            [_value("window", WINDOW), _value("context", len(CONTEXT_FEATURES))],
            [_value(name, *(f"{name}_{axis}" for axis in range(1, rank))) for name in outputs],
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="central-hub training")
        model.ir_version = _IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def _value(name: str, *tail: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *tail])
