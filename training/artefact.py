"""From a fitted head to the bytes of `model.onnx`."""

from __future__ import annotations

import math

from training.graph import GraphBuilder
from training.heads.base import Head
from training.inputs import Inputs, Standard


def artefact_of(head: Head, standard: Standard, horizon_bars: int) -> bytes:
    """The whole graph: inputs, head, and back from units of volatility to log returns over the horizon."""
    graph = GraphBuilder()
    inputs = Inputs(graph, standard)
    tensors = head.tensors(inputs)
    expected = graph.add("Mul", inputs.volatility, graph.constant(math.sqrt(horizon_bars)))
    outputs = {
        "location": graph.add("Mul", tensors.z_location, expected),
        "scale": graph.add("Mul", graph.add("Exp", tensors.log_scale), expected),
        "logit_up": tensors.logit_up,
    }
    columns = {name: graph.add("Squeeze", tensor, graph.constant([1])) for name, tensor in outputs.items()}
    return graph.finish(columns, rank=1)
