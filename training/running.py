"""Running a graph over many rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

_CHUNK: Final = 256
"""Rows a call: what every model takes, and little memory."""


def run_in_chunks(
    model: bytes, outputs: Sequence[str], window: NDArray[np.float32], context: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """The named outputs for all rows, on one thread as in service."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    chunks = [
        session.run(list(outputs), {"window": window[i : i + _CHUNK], "context": context[i : i + _CHUNK]})
        for i in range(0, len(window), _CHUNK)
    ]
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]
