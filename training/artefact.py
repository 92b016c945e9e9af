"""From a fitted head to the bytes of `model.onnx`, and back to raw outputs for many rows."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime as ort

from inference.calibration import RawOutputs
from models.task import TIME_SERIES_FORECAST
from training.data import Samples
from training.graph import GraphBuilder
from training.heads.base import Head
from training.inputs import Inputs, Standard

_CHUNK = 256


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


def outputs_of(artefact: bytes, samples: Samples) -> RawOutputs:
    """Raw outputs for all samples, in chunks that every model takes."""
    session = ort.InferenceSession(artefact, providers=["CPUExecutionProvider"])
    chunks = [
        session.run(
            TIME_SERIES_FORECAST.outputs,
            {"window": samples.window[i : i + _CHUNK], "context": samples.context[i : i + _CHUNK]},
        )
        for i in range(0, len(samples), _CHUNK)
    ]
    return RawOutputs(*(np.concatenate(parts) for parts in zip(*chunks, strict=True)))
