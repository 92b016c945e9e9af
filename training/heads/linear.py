"""Linear models: ridge regression for location and scale, logistic regression for direction."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from training.about import About
from training.heads.base import HeadTensors, HeadValues, clipped, targets
from training.inputs import Inputs, TrainingSet

SHRINKAGE: Final = 300.0


class RidgeHead:
    """Ridge regression of the outcome and of its size."""

    about: Final = About(
        name="ridge",
        family="linear",
        description="Ridge regression: location and scale are linear in the features.",
    )
    light: Final = True

    def __init__(self) -> None:
        self._model = Ridge(alpha=SHRINKAGE)

    def fit(self, train: TrainingSet) -> None:
        """Closed form."""
        self._model.fit(train.features.astype(np.float64), targets(train))

    def predict(self, samples: TrainingSet) -> HeadValues:
        """Two linear combinations."""
        location, size = self._model.predict(samples.features.astype(np.float64)).T
        return HeadValues(location, size, location)

    def tensors(self, inputs: Inputs) -> HeadTensors:
        """One matrix product."""
        graph = inputs.graph
        both = graph.linear(inputs.features, self._model.coef_.T, self._model.intercept_)
        location = graph.columns(both, 0, 1)
        return HeadTensors(location, graph.columns(both, 1, 2), location)


class LogitHead:
    """Logistic regression of the direction; the location follows it, the scale is the naive control's."""

    about: Final = About(
        name="logit",
        family="linear",
        description="Logistic regression of the direction; the scale of the naive control.",
    )
    light: Final = True

    def __init__(self) -> None:
        self._model = LogisticRegression(C=0.01, max_iter=1000)
        self._location_per_logit = 0.0

    def fit(self, train: TrainingSet) -> None:
        """Rows without a move have no direction and are left out."""
        moved = train.z != 0
        self._model.fit(train.features[moved].astype(np.float64), train.z[moved] > 0)
        logit = self._logit(train)
        self._location_per_logit = float(logit @ clipped(train.z) / (logit @ logit))

    def predict(self, samples: TrainingSet) -> HeadValues:
        """Location in proportion to the log odds."""
        logit = self._logit(samples)
        return HeadValues(self._location_per_logit * logit, np.zeros(len(logit)), logit)

    def tensors(self, inputs: Inputs) -> HeadTensors:
        """One vector product."""
        graph = inputs.graph
        logit = graph.linear(inputs.features, self._model.coef_.T, self._model.intercept_)
        location = graph.add("Mul", logit, graph.constant(self._location_per_logit))
        return HeadTensors(location, graph.add("Mul", inputs.volatility, graph.constant(0.0)), logit)

    def _logit(self, samples: TrainingSet) -> NDArray[np.float64]:
        logit: NDArray[np.float64] = self._model.decision_function(samples.features.astype(np.float64))
        return logit
