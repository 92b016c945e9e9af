"""Artefacts that nobody should load, and one that is as it should be; all made here, none from the wild."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from models.task import WINDOW
from tests.unit.inference.tiny import NODES, artefact, constant, node

Made = Callable[[Path], bytes]
"""An artefact; the path is that of a file which must never be read, written or run by it."""


class _Touches:
    """Whoever unpickles it creates the file."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._canary), "w")


def pickled(canary: Path) -> bytes:
    """A pickle that writes a file when it is loaded."""
    return pickle.dumps(_Touches(canary))


def zipped(canary: Path) -> bytes:
    """An archive whose member climbs out of where it is unpacked."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(f"../../../../..{canary}", "slipped")
    return held.getvalue()


def _changed(change: Callable[[onnx.ModelProto], object]) -> bytes:
    model = onnx.load_model_from_string(artefact())
    change(model)
    return bytes(model.SerializeToString())


def external(place: Callable[[Path], str]) -> Made:
    """A tensor that is kept in another file."""

    def made(canary: Path) -> bytes:
        def change(model: onnx.ModelProto) -> None:
            tensor = model.graph.initializer[0]
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=place(canary))

        return _changed(change)

    return made


def sparse_external(canary: Path) -> bytes:
    """The same by way of a sparse tensor."""

    def change(model: onnx.ModelProto) -> None:
        sparse = model.graph.sparse_initializer.add()
        sparse.dims.append(4)
        sparse.values.CopyFrom(constant("sparse", np.ones(1, np.float32)))
        sparse.indices.CopyFrom(constant("places", np.zeros(1, np.int64)))
        sparse.values.ClearField("raw_data")
        sparse.values.data_location = TensorProto.EXTERNAL
        sparse.values.external_data.add(key="location", value=str(canary))

    return _changed(change)


def unmarked_external(canary: Path) -> bytes:
    """A place is named, but the tensor does not say that it is kept elsewhere."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].external_data.add(key="location", value=str(canary))

    return _changed(change)


def huge_dims(_: Path) -> bytes:
    """Four bytes that say they are 2^62 numbers."""

    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[1]
        tensor.ClearField("dims")
        tensor.dims.extend([2**31, 2**31])

    return _changed(change)


def unknown_operators(_: Path) -> bytes:
    """A node of an operator set that only its author knows."""

    def change(model: onnx.ModelProto) -> None:
        model.opset_import.add(domain="evil.corp", version=1)
        model.graph.node.add(op_type="Run", domain="evil.corp", input=["window"], output=["x"])

    return _changed(change)


def random_outputs(_: Path) -> bytes:
    """A coin instead of a forecast."""
    toss = node("RandomNormalLike", ["location"], "logit_up")
    return artefact((*NODES[:3], toss))


def fold_bomb(_: Path) -> bytes:
    """Constants of a gigabyte each, made while the graph is loaded."""
    made = [
        node("ConstantOfShape", ["gigabyte"], f"big_{number}", value=constant("v", np.zeros(1, np.float32)))
        for number in range(4)
    ]
    joined = [
        node("Concat", [f"big_{number}" for number in range(4)], "bigger", axis=0),
        node("ReduceSum", ["bigger", "first"], "drop", keepdims=0),
        node("Add", ["scale_only", "drop"], "scale"),
    ]
    head = [node("ReduceSum", ["window", "axis"], "location", keepdims=0)]
    tail = [
        node("Mul", ["location", "zero"], "nothing"),
        node("Add", ["nothing", "constant_scale"], "scale_only"),
        node("Mul", ["location", "thousand"], "logit_up"),
    ]
    constants = (constant("gigabyte", np.array([2**28 - 16])), constant("first", np.array([0])))
    return artefact((*head, *tail, *made, *joined), constants=constants)


def run_bomb(_: Path) -> bytes:
    """Eight gigabytes that are asked for with the first call, by the number of its rows."""
    nodes = (
        *NODES[:2],
        node("Shape", ["location"], "rows"),
        node("Mul", ["rows", "billion"], "wanted"),
        node("ConstantOfShape", ["wanted"], "big", value=constant("v", np.zeros(1, np.float32))),
        node("ReduceSum", ["big", "first"], "drop", keepdims=0),
        node("Add", ["nothing", "constant_scale"], "scale_only"),
        node("Add", ["scale_only", "drop"], "scale"),
        NODES[3],
    )
    constants = (constant("billion", np.array([2**31])), constant("first", np.array([0])))
    return artefact(nodes, constants=constants)


def endless(_: Path) -> bytes:
    """A loop that never ends."""
    body = helper.make_graph(
        [node("Identity", ["go"], "on"), node("Identity", ["held"], "kept")],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", TensorProto.FLOAT, ["n"]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("kept", TensorProto.FLOAT, ["n"]),
        ],
    )
    nodes = (
        node("ReduceSum", ["window", "axis"], "sum", keepdims=0),
        node("Loop", ["", "true", "sum"], "location", body=body),
        *NODES[1:],
    )
    return artefact(nodes, constants=(constant("true", np.array(True)),))


def nested_functions(_: Path) -> bytes:
    """Twelve functions that each call the one before four times: 16 million nodes in four kilobytes."""

    def change(model: onnx.ModelProto) -> None:
        model.opset_import.add(domain="own", version=1)
        for number in range(12):
            called = ("Identity", "") if number == 0 else (f"f{number - 1}", "own")
            nodes = [
                helper.make_node(called[0], ["a"], ["b"], domain=called[1]),
                *[helper.make_node(called[0], ["b"], [f"c{i}"], domain=called[1]) for i in range(3)],
                helper.make_node("Identity", ["c0"], ["d"]),
            ]
            model.functions.append(
                helper.make_function("own", f"f{number}", ["a"], ["d"], nodes, [helper.make_opsetid("", 15)])
            )
        model.graph.node.append(helper.make_node("f11", ["location"], ["unused"], domain="own"))

    return _changed(change)


def recursive_function(_: Path) -> bytes:
    """A function that calls itself."""

    def change(model: onnx.ModelProto) -> None:
        model.opset_import.add(domain="own", version=1)
        again = helper.make_node("f", ["a"], ["b"], domain="own")
        model.functions.append(
            helper.make_function("own", "f", ["a"], ["b"], [again], [helper.make_opsetid("", 15)])
        )
        model.graph.node.append(helper.make_node("f", ["location"], ["unused"], domain="own"))

    return _changed(change)


def deep(_: Path) -> bytes:
    """Graphs within graphs within graphs."""

    def change(model: onnx.ModelProto) -> None:
        graph = helper.make_graph([], "leaf", [], [])
        for _ in range(20):
            inner = helper.make_node("If", ["true"], ["x"], then_branch=graph, else_branch=graph)
            graph = helper.make_graph([inner], "level", [], [])
            graph.node[0].attribute.pop()  # one branch is enough, and two would be a million graphs
        model.graph.node.append(graph.node[0])

    return _changed(change)


def many_nodes(_: Path) -> bytes:
    """More nodes than a forecast needs."""
    copies = tuple(node("Identity", ["window"], f"copy_{number}") for number in range(100_001))
    return artefact((*NODES, *copies))


def not_a_number(_: Path) -> bytes:
    """Forecasts that are no numbers."""
    return artefact((*NODES[:3], node("Div", ["nothing", "zero"], "logit_up")))


def other_shapes(_: Path) -> bytes:
    """A graph that wants other windows than its card says."""
    return artefact(width=WINDOW // 2)


def truncated(_: Path) -> bytes:
    """The first half of a good one."""
    whole = artefact()
    return whole[: len(whole) // 2]


CORPUS: Final[dict[str, tuple[Made, str]]] = {
    "pickle": (pickled, "artefact"),
    "zip slip": (zipped, "artefact"),
    "empty": (lambda _: b"", "artefact"),
    "noise": (lambda _: np.random.default_rng(1).bytes(4096), "artefact"),
    "truncated": (truncated, "artefact"),
    "external, absolute": (external(str), "external_data"),
    "external, climbing": (external(lambda canary: f"../../../../..{canary}"), "external_data"),
    "external, in the working directory": (external(lambda canary: canary.name), "external_data"),
    "external, marked as memory": (external(lambda _: "*/_ORT_MEM_ADDR_/*"), "external_data"),
    "external, sparse": (sparse_external, "external_data"),
    "external, unmarked": (unmarked_external, "external_data"),
    "huge dims": (huge_dims, "tensors"),
    "unknown operators": (unknown_operators, "opset"),
    "random numbers": (random_outputs, "operators"),
    "fold bomb": (fold_bomb, "dry_run"),
    "bomb at run time": (run_bomb, "dry_run"),
    "endless loop": (endless, "time"),
    "nested functions": (nested_functions, "nodes"),
    "recursive function": (recursive_function, "nodes"),
    "deep graphs": (deep, "nodes"),
    "a million nodes": (many_nodes, "nodes"),
    "not a number": (not_a_number, "dry_run"),
    "other shapes": (other_shapes, "input.window"),
}
"""By name: the artefact, and the field that its refusal names."""
