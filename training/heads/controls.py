"""Controls: what a model has to beat. Nothing is learned but one factor of the reversal rule."""

from __future__ import annotations

from typing import Final

import numpy as np

from training.about import About
from training.heads.base import HeadTensors, HeadValues, clipped
from training.inputs import Inputs, TrainingSet


class Naive:
    """No change is expected, and moves as large as those of the window."""

    about: Final = About(
        name="naive",
        family="control",
        description="Control: expects no change, and moves as large as those of the window.",
    )
    light: Final = True

    def fit(self, train: TrainingSet) -> None:
        """There is nothing to fit."""

    def predict(self, samples: TrainingSet) -> HeadValues:
        """All zero: scale is the window's volatility."""
        nothing = np.zeros(len(samples.z))
        return HeadValues(nothing, nothing, nothing)

    def tensors(self, inputs: Inputs) -> HeadTensors:
        """Zeros, one per row."""
        nothing = inputs.graph.add("Mul", inputs.volatility, inputs.graph.constant(0.0))
        return HeadTensors(nothing, nothing, nothing)


class Reversal:
    """The last return is expected to be taken back in part; the part is fitted."""

    about: Final = About(
        name="reversal",
        family="control",
        description="Control: expects a fitted part of the last return to be taken back.",
    )
    light: Final = True

    def __init__(self) -> None:
        self._part = 0.0

    def fit(self, train: TrainingSet) -> None:
        """Least squares through the origin, of the outcome on the last return."""
        last = train.returns[:, -1].astype(np.float64)
        self._part = float(last @ clipped(train.z) / (last @ last))

    def predict(self, samples: TrainingSet) -> HeadValues:
        """A part of the last return; the scale of the naive control."""
        location = self._part * samples.returns[:, -1].astype(np.float64)
        return HeadValues(location, np.zeros(len(location)), location)

    def tensors(self, inputs: Inputs) -> HeadTensors:
        """One multiplication."""
        graph = inputs.graph
        location = graph.add("Mul", graph.columns(inputs.returns, -1, 2**31), graph.constant(self._part))
        nothing = graph.add("Mul", inputs.volatility, graph.constant(0.0))
        return HeadTensors(location, nothing, location)
