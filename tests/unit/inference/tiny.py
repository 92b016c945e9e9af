"""A tiny hand-made model with its card, and ways to break it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.task import CONTEXT_FEATURES, INTERVAL_LEVELS, WINDOW

SCALE: Final = 1e-4


def node(op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    """A node with one output."""
    return helper.make_node(op, inputs, [output], **attributes)


def constant(name: str, values: NDArray[Any]) -> onnx.TensorProto:
    """A named constant."""
    return numpy_helper.from_array(values, name)


NODES: Final = (
    node("ReduceSum", ["window", "axis"], "location", keepdims=0),
    node("Mul", ["location", "zero"], "nothing"),
    node("Add", ["nothing", "constant_scale"], "scale"),
    node("Mul", ["location", "thousand"], "logit_up"),
)
"""The window goes on: location is the sum of its returns, scale 1e-4, logit 1000 x location."""


def artefact(
    nodes: tuple[onnx.NodeProto, ...] = NODES,
    *,
    width: int = WINDOW,
    rows: str | int = "n",
    outputs: tuple[str, ...] = ("location", "scale", "logit_up"),
    constants: tuple[onnx.TensorProto, ...] = (),
) -> bytes:
    """The model's bytes; the parameters bend its contract."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("window", TensorProto.FLOAT, [rows, width]),
            helper.make_tensor_value_info("context", TensorProto.FLOAT, [rows, len(CONTEXT_FEATURES)]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows]) for name in outputs],
        [
            constant("axis", np.array([1])),
            constant("zero", np.array([0], np.float32)),
            constant("constant_scale", np.array([SCALE], np.float32)),
            constant("thousand", np.array([1000], np.float32)),
            *constants,
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


def card_of(model: bytes, **changes: Any) -> dict[str, Any]:
    """A complete card for these bytes, with changes on top."""
    bounded = {"value": 0.5, "lower": 0.4, "upper": 0.6, "n": 100}
    card: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "task": "time_series_forecast",
        "family": "test",
        "description": "the window goes on",
        "status": "live",
        "sha256": hashlib.sha256(model).hexdigest(),
        "contract": {
            "bar_ms": 10_000,
            "horizon_ms": 60_000,
            "window_tail": WINDOW,
            "context": list(CONTEXT_FEATURES),
            "instruments": ["*"],
        },
        "max_size": "medium",
        "cost": 1.0,
        "warm": [{"rows": 1, "p50_ms": 0.1, "p99_ms": 0.2, "n": 10}],
        "calibration": {
            "version": "tiny-1-c1",
            "n": 100,
            "multipliers": {f"{level:.2f}": 1 + index for index, level in enumerate(INTERVAL_LEVELS)},
            "up_slope": 2.0,
            "domain": {"vol_ratio": [0.5, 2.0]},
        },
        "evidence": [
            {
                "instrument": "*",
                "period_from": "2014-05-02",
                "period_to": "2014-05-09",
                "n": 100,
                "coverage": {f"{level:.2f}": bounded for level in INTERVAL_LEVELS},
                "interval_score": bounded,
                "skill": bounded,
                "pinball_skill": bounded,
                "direction_accuracy": bounded,
            }
        ],
    }
    return card | changes


def write(repository: Path, model: bytes, card: dict[str, Any]) -> Path:
    """`<repository>/tiny/1/` with both files; the directory."""
    directory = repository / "tiny" / "1"
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(model)
    (directory / "card.yaml").write_text(yaml.safe_dump(card))
    return directory


def context(rows: int = 1) -> NDArray[np.float32]:
    """Context inside the card's domain."""
    return np.ones((rows, len(CONTEXT_FEATURES)), dtype=np.float32)


def window(rows: int = 1, *, seed: int = 5) -> NDArray[np.float32]:
    """Returns of the size a market gives."""
    return np.random.default_rng(seed).normal(0, 5e-5, (rows, WINDOW)).astype(np.float32)
