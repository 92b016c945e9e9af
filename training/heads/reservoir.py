"""A heavy model: a large recurrent network of fixed random weights with a fitted linear readout.

An echo state network (Jaeger 2001) with gated units: 256 sequential steps make it slow on one row, which is
what a router needs beside the fast ones. Only the readout is learned, so training it takes no deep-learning
framework.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from models.task import DataSize
from training.about import About
from training.graph import GraphBuilder
from training.heads.base import HeadTensors, HeadValues, targets
from training.heads.linear import SHRINKAGE
from training.inputs import Inputs, TrainingSet, evaluate

_UNITS: Final = 256
_SPECTRAL_RADIUS: Final = 0.9
_INPUT_SCALE: Final = 0.5


class ReservoirHead:
    """Gated recurrent reservoir over the whole window; ridge readout of its last state and the features."""

    about: Final = About(
        name="gru-reservoir",
        family="recurrent",
        description="Echo state network: gated units of fixed random weights, ridge readout.",
        max_size=DataSize.MEDIUM,
    )
    light: Final = False

    def __init__(self, seed: int, *, units: int = _UNITS) -> None:
        self._units = units
        self._readout = Ridge(alpha=SHRINKAGE)
        self._weights = _random_weights(np.random.default_rng(seed), units)

    def fit(self, train: TrainingSet) -> None:
        """Fit the readout of the states."""
        self._readout.fit(self._readout_inputs(train), targets(train))

    def predict(self, samples: TrainingSet) -> HeadValues:
        """The readout of the states."""
        location, size = self._readout.predict(self._readout_inputs(samples)).T
        return HeadValues(location, size, location)

    def tensors(self, inputs: Inputs) -> HeadTensors:
        """The recurrent layer and one matrix product."""
        graph = inputs.graph
        joined = graph.add("Concat", inputs.features, self._state(graph, inputs.returns), axis=1)
        both = graph.linear(joined, self._readout.coef_.T, self._readout.intercept_)
        location = graph.columns(both, 0, 1)
        return HeadTensors(location, graph.columns(both, 1, 2), location)

    def _state(self, graph: GraphBuilder, returns: str) -> str:
        """[n, units]: the last state after all 256 returns."""
        sequence = graph.add("Unsqueeze", graph.add("Transpose", returns, perm=[1, 0]), graph.constant([2]))
        weights = [graph.constant(self._weights[name]) for name in ("W", "R", "B")]
        state = graph.add("GRU", sequence, *weights, skip=1, hidden_size=self._units, linear_before_reset=1)
        return graph.add("Squeeze", state, graph.constant([0]))

    def _readout_inputs(self, samples: TrainingSet) -> NDArray[np.float64]:
        graph = GraphBuilder()
        tensors = {"state": self._state(graph, "window")}  # fed with scaled returns
        (state,) = evaluate(graph, tensors, samples.returns)
        return np.concatenate([samples.features, state], axis=1).astype(np.float64)


def _random_weights(rng: np.random.Generator, units: int) -> dict[str, NDArray[np.float32]]:
    """Weights of ONNX `GRU` (gates z, r, h): each recurrent block scaled to the spectral radius."""
    blocks = [rng.normal(0, 1 / np.sqrt(units), (units, units)) for _ in range(3)]
    recurrent = [block * (_SPECTRAL_RADIUS / np.abs(np.linalg.eigvals(block)).max()) for block in blocks]
    weights = {
        "W": rng.uniform(-_INPUT_SCALE, _INPUT_SCALE, (1, 3 * units, 1)),
        "R": np.concatenate(recurrent)[np.newaxis],
        "B": np.zeros((1, 6 * units)),
    }
    return {name: values.astype(np.float32) for name, values in weights.items()}
