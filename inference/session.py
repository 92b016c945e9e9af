"""A loaded model: typed arrays in, calibrated forecasts out.

The artefact is loaded from bytes whose hash the card names, on one thread, with no way to reach other files:
tensors kept outside the artefact are looked for in a folder that cannot exist, so such a graph does not load.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from inference.calibration import Head, RawOutputs
from models.card import ModelCard
from models.errors import BadShape, BadValue, CardRejected, InferenceFailed, TooLarge
from models.forecast import Forecast
from models.task import task_named

MODEL_FILE: Final = "model.onnx"

_NOWHERE: Final = "/dev/null/no-external-data"
_ORT_ERRORS: Final = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class Session:
    """One model on one thread. Calls from several threads are safe; each runs on its caller's thread."""

    def __init__(self, model: bytes, card: ModelCard) -> None:
        actual = hashlib.sha256(model).hexdigest()
        if actual != card.sha256:
            raise CardRejected(
                f"sha256 of the artefact of {card.key} was {actual}, its card says {card.sha256}: "
                "the file was changed after the card was written",
                field="sha256",
            )
        self.card = card
        self._task = task_named(card.task)
        self._head = Head(card.calibration, self._task.context)
        self._session = _load(model, card)

    @classmethod
    def load(cls, directory: Path, card: ModelCard) -> Self:
        """The session of `model.onnx` in a model's directory."""
        return cls(read_artefact(directory), card)

    def run(
        self,
        window: NDArray[np.float32],
        context: NDArray[np.float32],
        *,
        level: float,
        options: ort.RunOptions | None = None,
    ) -> list[Forecast]:
        """One calibrated forecast per row, its interval at `level`.

        `window` is float32[n, 256], `context` float32[n, k]. BadShape, BadValue or TooLarge name the field at
        fault. Setting `options.terminate` from another thread ends the call with InferenceFailed.
        """
        self._check_rows(window)
        _check("window", window, (len(window), self._task.window))
        _check("context", context, (len(window), len(self._task.context)))
        self._head.multiplier(level)
        return self._head.forecasts(self.raw(window, context, options=options), context, level)

    def raw(
        self,
        window: NDArray[np.float32],
        context: NDArray[np.float32],
        *,
        options: ort.RunOptions | None = None,
    ) -> RawOutputs:
        """The graph's own outputs, uncalibrated; InferenceFailed if they are no distribution."""
        try:
            outputs = self._session.run(self._task.outputs, {"window": window, "context": context}, options)
        except _ORT_ERRORS as error:
            raise InferenceFailed(f"{self.card.key} failed: {error}") from error
        raw = RawOutputs(*outputs)
        if not (np.isfinite(outputs).all() and (raw.scale > 0).all()):
            raise InferenceFailed(f"{self.card.key} returned a value that is not finite, or a scale <= 0")
        return raw

    def signature(self) -> tuple[dict[str, tuple[str, list[Any]]], dict[str, tuple[str, list[Any]]]]:
        """Inputs and outputs of the graph: name -> (type, shape)."""
        inputs = {item.name: (item.type, item.shape) for item in self._session.get_inputs()}
        outputs = {item.name: (item.type, item.shape) for item in self._session.get_outputs()}
        return inputs, outputs

    def _check_rows(self, window: NDArray[np.float32]) -> None:
        most = self.card.max_size.max_rows
        if len(window) > most:
            raise TooLarge(
                f"window holds {len(window)} rows; {self.card.key} takes at most {most}", field="window"
            )


def read_artefact(directory: Path) -> bytes:
    """The bytes of `model.onnx` in a model's directory."""
    try:
        return (directory / MODEL_FILE).read_bytes()
    except FileNotFoundError:
        raise CardRejected(f"{directory / MODEL_FILE} is missing", field=MODEL_FILE) from None


def _load(model: bytes, card: ModelCard) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _ORT_ERRORS as error:
        raise CardRejected(f"the artefact of {card.key} does not load: {error}", field=MODEL_FILE) from error


def _check(field: str, values: NDArray[np.float32], shape: tuple[int, int]) -> None:
    if values.shape != shape or values.dtype != np.float32 or not len(values):
        expected = f"float32[n >= 1, {shape[1]}] with as many rows as window"
        raise BadShape(f"{field} was {values.dtype}{list(values.shape)}; expected {expected}", field=field)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise BadValue(
            f"{field}[{row}][{column}] was {values[row, column]}; expected finite numbers", field=field
        )
