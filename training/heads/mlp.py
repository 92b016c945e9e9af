"""A small neural network: two hidden layers, location and scale from one trunk."""

from __future__ import annotations

import warnings
from typing import Final

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from training.about import About
from training.heads.base import HeadTensors, HeadValues, targets
from training.inputs import Inputs, TrainingSet

_EPOCHS: Final = 15


class MlpHead:
    """Multilayer perceptron on the features, trained for a fixed number of passes.

    No early stopping: it would hold back random rows, and rows of overlapping windows are no held-back data.
    """

    about: Final = About(
        name="mlp",
        family="neural",
        description="Multilayer perceptron with 32 and 16 hidden units.",
    )
    light: Final = False

    def __init__(self, seed: int) -> None:
        self._model = MLPRegressor(
            hidden_layer_sizes=(32, 16), alpha=1.0, batch_size=256, max_iter=_EPOCHS, random_state=seed
        )

    def fit(self, train: TrainingSet) -> None:
        """Adam on squared error of the outcome and of its size."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the number of passes is a choice
            self._model.fit(train.features.astype(np.float64), targets(train))

    def predict(self, samples: TrainingSet) -> HeadValues:
        """Both outputs of the network."""
        location, size = self._model.predict(samples.features.astype(np.float64)).T
        return HeadValues(location, size, location)

    def tensors(self, inputs: Inputs) -> HeadTensors:
        """A product per layer, rectified between."""
        graph, tensor = inputs.graph, inputs.features
        *hidden, last = zip(self._model.coefs_, self._model.intercepts_, strict=True)
        for weights, bias in hidden:
            tensor = graph.add("Relu", graph.linear(tensor, weights, bias))
        both = graph.linear(tensor, *last)
        location = graph.columns(both, 0, 1)
        return HeadTensors(location, graph.columns(both, 1, 2), location)
