"""What a head learns from, as tensors of the graph itself.

The features are computed by the graph that serves: training runs the very same nodes through onnxruntime, so
the features a model meets in service are those it was fitted on. Everything is in units of the window's own
volatility: a head sees shapes, not price levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.task import CONTEXT_FEATURES
from training.data import Samples
from training.graph import GraphBuilder
from training.running import run_in_chunks

_LEAST: Final = 1e-6
_LAGS: Final = 24
_RECENT: Final = 8
_LOGS: Final = ("spread_rel", "vol_short", "vol_long", "vol_ratio")
_PLAIN: Final = ("hour_sin", "hour_cos", "momentum_short", "momentum_long")


@dataclass(frozen=True, slots=True)
class Standard:
    """Mean and spread of each raw feature in the train part."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


class Inputs:
    """Tensors a head may use; a tensor's nodes are added when it is first asked for."""

    def __init__(self, graph: GraphBuilder, standard: Standard | None = None) -> None:
        self.graph = graph
        self._standard = standard

    @cached_property
    def volatility(self) -> str:
        """[n, 1]: root mean square return of a bar over the window."""
        return self._root_mean_square("window")

    @cached_property
    def returns(self) -> str:
        """[n, 256]: returns in units of volatility, clipped to -/+ 6."""
        scaled = self.graph.add("Div", "window", self.volatility)
        return self._clipped(scaled, 6.0)

    @cached_property
    def raw_features(self) -> str:
        """[n, d]: last returns, sizes of the latest, log volatilities and spread, hour, momentum."""
        graph = self.graph
        lags = graph.columns(self.returns, -_LAGS, 2**31)
        latest = graph.columns(self.returns, -_RECENT, 2**31)
        sizes = graph.add("Log", graph.add("Add", graph.add("Abs", latest), graph.constant(1.0)))
        burst = graph.add("Log", self._root_mean_square(graph.columns("window", -_RECENT, 2**31)))
        logs = graph.add("Log", graph.add("Max", self._context(_LOGS), graph.constant(_LEAST)))
        return graph.add("Concat", lags, sizes, burst, logs, self._context(_PLAIN), axis=1)

    @cached_property
    def features(self) -> str:
        """[n, d]: raw features, standardised and clipped to -/+ 5."""
        if self._standard is None:
            raise ValueError("features are standardised: fit the standard on raw features first")
        centred = self.graph.add("Sub", self.raw_features, self.graph.constant(self._standard.mean))
        scaled = self.graph.add("Div", centred, self.graph.constant(self._standard.deviation))
        return self._clipped(scaled, 5.0)

    def _context(self, names: tuple[str, ...]) -> str:
        columns = self.graph.constant([CONTEXT_FEATURES.index(name) for name in names])
        return self.graph.add("Gather", "context", columns, axis=1)

    def _root_mean_square(self, tensor: str) -> str:
        squares = self.graph.add("Mul", tensor, tensor)
        mean = self.graph.add("ReduceMean", squares, axes=[1], keepdims=1)
        return self.graph.add("Max", self.graph.add("Sqrt", mean), self.graph.constant(_LEAST))

    def _clipped(self, tensor: str, most: float) -> str:
        return self.graph.add("Clip", tensor, self.graph.constant(-most), self.graph.constant(most))


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What estimators are fitted on, all computed by the graph.

    `returns` [n, 256], `features` [n, d]; `z` is the outcome in units of the volatility expected until then.
    """

    returns: NDArray[np.float32]
    features: NDArray[np.float32]
    z: NDArray[np.float64]


def evaluate(
    graph: GraphBuilder,
    tensors: Mapping[str, str],
    window: NDArray[np.float32],
    context: NDArray[np.float32] | None = None,
) -> list[NDArray[np.float32]]:
    """Matrices of the graph for all rows; no context means zeros."""
    if context is None:
        context = np.zeros((len(window), len(CONTEXT_FEATURES)), dtype=np.float32)
    return run_in_chunks(graph.finish(tensors, rank=2), list(tensors), window, context)


def fit_standard(samples: Samples) -> Standard:
    """Mean and deviation of the raw features."""
    graph = GraphBuilder()
    (raw,) = evaluate(graph, {"raw": Inputs(graph).raw_features}, samples.window, samples.context)
    return Standard(
        mean=raw.mean(axis=0, dtype=np.float64), deviation=raw.std(axis=0, dtype=np.float64) + 1e-9
    )


def training_set(samples: Samples, standard: Standard, horizon_bars: int) -> TrainingSet:
    """The samples as the heads see them."""
    graph = GraphBuilder()
    inputs = Inputs(graph, standard)
    names = {"returns_": inputs.returns, "features_": inputs.features, "volatility_": inputs.volatility}
    returns, features, volatility = evaluate(graph, names, samples.window, samples.context)
    z = samples.outcome / (volatility[:, 0].astype(np.float64) * math.sqrt(horizon_bars))
    return TrainingSet(returns, features, z)
