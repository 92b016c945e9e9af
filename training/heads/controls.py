"""Controls: what a model has to beat. Nothing is learned."""

from __future__ import annotations

from typing import Final

import numpy as np

from training.about import About
from training.heads.base import HeadTensors, HeadValues
from training.inputs import Inputs, TrainingSet

_TAKEN_BACK: Final = 0.05
"""In units of volatility over the horizon, per unit of volatility of the last return."""


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
    """A small fixed part of the last return is expected to be taken back. A rule: nothing is fitted."""

    about: Final = About(
        name="reversal",
        family="control",
        description="Control: expects a small fixed part of the last return to be taken back.",
    )
    light: Final = True

    def fit(self, train: TrainingSet) -> None:
        """There is nothing to fit."""

    def predict(self, samples: TrainingSet) -> HeadValues:
        """A part of the last return; the scale of the naive control."""
        location = -_TAKEN_BACK * samples.returns[:, -1].astype(np.float64)
        return HeadValues(location, np.zeros(len(location)), location)

    def tensors(self, inputs: Inputs) -> HeadTensors:
        """One multiplication."""
        graph = inputs.graph
        location = graph.add("Mul", graph.columns(inputs.returns, -1, 2**31), graph.constant(-_TAKEN_BACK))
        nothing = graph.add("Mul", inputs.volatility, graph.constant(0.0))
        return HeadTensors(location, nothing, location)
