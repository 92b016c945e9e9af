"""What a graph is made of, read before anything of it runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final, NamedTuple

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

from models.errors import CardRejected

_KNOWN: Final = ("ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Operator sets that onnxruntime brings; it refuses versions it does not know."""
_RANDOM: Final = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_DEEPEST: Final = 16
"""Graphs within graphs, and functions that call functions."""


class GraphFacts(NamedTuple):
    """`nodes` counts every node with each function written out where it is called."""

    opset: dict[str, int]
    operators: frozenset[str]
    nodes: int


def read_graph(artefact: bytes, *, most_nodes: int) -> GraphFacts:
    """Opset, operators and size of a graph; CardRejected if it is none, or one that may not be loaded.

    Refused are tensors kept outside the artefact or of another size than they say, operators that draw random
    numbers, unknown operator sets, and graphs that grow beyond `most_nodes` once functions are written out.
    """
    try:
        model = onnx.load_model_from_string(artefact)
    except (DecodeError, ValueError) as error:
        raise CardRejected(f"the artefact is no ONNX model: {error}", field="artefact") from None
    if not model.graph.node:
        raise CardRejected("the artefact holds no graph", field="artefact")
    opset = _opset(model)
    nodes = _Counted(model.functions, most_nodes).of(model.graph.node)
    graphs = list(_graphs(model))
    for tensor in chain.from_iterable(map(_tensors, graphs)):
        _check_tensor(tensor)
    operators = frozenset(node.op_type for graph in graphs for node in graph.node)
    if drawn := sorted(operators & _RANDOM):
        raise CardRejected(f"the graph draws random numbers: {', '.join(drawn)}", field="operators")
    return GraphFacts(opset, operators, nodes)


def _opset(model: ModelProto) -> dict[str, int]:
    imports = chain(model.opset_import, _imports(model.functions))
    opset = {one.domain or "ai.onnx": one.version for one in imports}
    own = {function.domain for function in model.functions}
    if unknown := sorted(set(opset) - set(_KNOWN) - own):
        raise CardRejected(
            f"the graph is made of operators of {', '.join(unknown)}; known: {', '.join(_KNOWN)}",
            field="opset",
        )
    return {domain: version for domain, version in opset.items() if domain in _KNOWN}


def _imports(functions: Iterable[FunctionProto]) -> Iterator[onnx.OperatorSetIdProto]:
    for function in functions:
        yield from function.opset_import


class _Counted:
    """Counts nodes, functions written out; a function is counted once and looked up from then on."""

    def __init__(self, functions: Iterable[FunctionProto], most: int) -> None:
        self._functions = {(one.domain, one.name): one for one in functions}
        self._sizes: dict[tuple[str, str], int] = {}
        self._most = most

    def of(self, nodes: Iterable[NodeProto], depth: int = 0) -> int:
        if depth > _DEEPEST:
            raise CardRejected(f"the graph is nested deeper than {_DEEPEST} levels", field="nodes")
        total = 0
        for node in nodes:
            total += 1 + self._inside(node, depth)
            if total > self._most:
                raise CardRejected(f"the graph has more than {self._most} nodes", field="nodes")
        return total

    def _inside(self, node: NodeProto, depth: int) -> int:
        called = (node.domain, node.op_type)
        size = sum(self.of(graph.node, depth + 1) for graph in _subgraphs(node.attribute))
        if called in self._functions:
            if called not in self._sizes:
                self._sizes[called] = self.of(self._functions[called].node, depth + 1)
            size += self._sizes[called]
        return size


def _graphs(model: ModelProto) -> Iterator[GraphProto | FunctionProto]:
    """The graph, its functions, and every graph in an attribute of a node of them."""
    waiting: list[GraphProto | FunctionProto] = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            waiting.extend(_subgraphs(node.attribute))


def _subgraphs(attributes: Iterable[AttributeProto]) -> Iterator[GraphProto]:
    for attribute in attributes:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(graph: GraphProto | FunctionProto) -> Iterator[TensorProto]:
    if isinstance(graph, GraphProto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _check_tensor(tensor: TensorProto) -> None:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        place = next((one.value for one in tensor.external_data if one.key == "location"), "somewhere else")
        raise CardRejected(
            f"tensor {tensor.name!r} is kept in {place!r}; an artefact holds all of its tensors",
            field="external_data",
        )
    size = _ITEM_BYTES.get(tensor.data_type)
    if size and tensor.HasField("raw_data") and math.prod(tensor.dims) * size != len(tensor.raw_data):
        raise CardRejected(
            f"tensor {tensor.name!r} says {list(tensor.dims)} and holds {len(tensor.raw_data)} bytes",
            field="tensors",
        )


_ITEM_BYTES: Final[Mapping[int, int]] = {
    TensorProto.FLOAT: 4,
    TensorProto.DOUBLE: 8,
    TensorProto.FLOAT16: 2,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.INT32: 4,
    TensorProto.INT64: 8,
    TensorProto.BOOL: 1,
}
"""Of the types that take whole bytes; onnxruntime looks at the others."""
