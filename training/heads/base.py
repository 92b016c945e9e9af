"""What every family of models offers to training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.about import About
from training.inputs import Inputs, TrainingSet

WIDEST_Z = 5.0
"""Outcomes beyond so many volatilities count as so many: one news minute must not decide a fit."""


@dataclass(frozen=True, slots=True)
class HeadTensors:
    """Tensors [n, 1]: location and logarithm of scale in units of volatility, and log odds of a rise."""

    z_location: str
    log_scale: str
    logit_up: str


@dataclass(frozen=True, slots=True)
class HeadValues:
    """The same as computed by the original estimators, float64[n]."""

    z_location: NDArray[np.float64]
    log_scale: NDArray[np.float64]
    logit_up: NDArray[np.float64]


class Head(Protocol):
    """A family: fitted on a training set, then written into a graph. The same seed gives the same head."""

    @property
    def about(self) -> About:
        """What the card says of it."""

    @property
    def light(self) -> bool:
        """Light models are live; any other must beat the best light one to be more than ballast."""

    def fit(self, train: TrainingSet) -> None:
        """Fit on the train part only."""

    def predict(self, samples: TrainingSet) -> HeadValues:
        """What the original estimators say: the graph must agree with it."""

    def tensors(self, inputs: Inputs) -> HeadTensors:
        """Write the fitted head into the graph."""


def clipped(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """The target of locations."""
    return np.clip(z, -WIDEST_Z, WIDEST_Z)


def log_size(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """The target of scales: how large an outcome was, its logarithm softened for outcomes near zero."""
    return np.log(np.abs(z) + 0.3)


def targets(train: TrainingSet) -> NDArray[np.float64]:
    """Both targets as columns: location and size."""
    return np.stack([clipped(train.z), log_size(train.z)], axis=1)
