"""Make a tiny model by hand: no change is expected, and moves as large as those of the last 32 bars.

Any tool will do that exports ONNX with these two inputs and three outputs. Usage: make_model.py FILE
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

HORIZON_BARS = 6  # 60 s in bars of 10 s


def value(name: str, *shape: int | str) -> ValueInfoProto:
    """A float tensor; the first dimension is free."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])


def make_model() -> bytes:
    """`window` [n, 256] and `context` [n, 8] in, `location`, `scale` and `logit_up` [n] out."""
    constants = {
        "first": np.array([256 - 32]),
        "last": np.array([256]),
        "columns": np.array([1]),
        "least": np.array(1e-6, np.float32),
        "root_of_time": np.array(math.sqrt(HORIZON_BARS), np.float32),
        "zero": np.array(0, np.float32),
    }
    nodes = [
        helper.make_node("Slice", ["window", "first", "last", "columns"], ["recent"]),
        helper.make_node("Mul", ["recent", "recent"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["mean_square"], axes=[1], keepdims=0),
        helper.make_node("Sqrt", ["mean_square"], ["volatility"]),
        helper.make_node("Max", ["volatility", "least"], ["positive"]),
        helper.make_node("Mul", ["positive", "root_of_time"], ["scale"]),
        helper.make_node("Mul", ["scale", "zero"], ["location"]),
        helper.make_node("Identity", ["location"], ["logit_up"]),
    ]
    graph = helper.make_graph(
        nodes,
        "recent-volatility",
        [value("window", 256), value("context", 8)],
        [value("location"), value("scale"), value("logit_up")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(make_model())
