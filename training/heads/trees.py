"""Gradient-boosted trees: one ensemble each for location, scale and direction."""

from __future__ import annotations

from typing import Final

import lightgbm
import numpy as np
from numpy.typing import NDArray
from onnxmltools.convert import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from training.about import About
from training.graph import OPSET
from training.heads.base import HeadTensors, HeadValues, clipped, log_size
from training.inputs import Inputs, TrainingSet

_COMMON: Final = {
    "num_leaves": 15,
    "learning_rate": 0.04,
    "min_data_in_leaf": 200,
    "lambda_l2": 10.0,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


class TreesHead:
    """LightGBM. Few and small trees: there is little to learn and much to overfit."""

    about: Final = About(
        name="lightgbm",
        family="trees",
        description="LightGBM: one ensemble each for location, scale and direction.",
    )
    light: Final = False

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._boosters: dict[str, lightgbm.Booster] = {}

    def fit(self, train: TrainingSet) -> None:
        """Three ensembles; the direction is learned from rows that moved."""
        moved = train.z != 0
        features, rise = train.features[moved], (train.z[moved] > 0).astype(np.float64)
        self._boosters = {
            "location": self._boosted(train.features, clipped(train.z), "regression", trees=30),
            "size": self._boosted(train.features, log_size(train.z), "regression", trees=80),
            "direction": self._boosted(features, rise, "binary", trees=50),
        }

    def predict(self, samples: TrainingSet) -> HeadValues:
        """The ensembles' sums; the direction as log odds."""
        sums = [booster.predict(samples.features, raw_score=True) for booster in self._boosters.values()]
        return HeadValues(*(np.asarray(values, dtype=np.float64) for values in sums))

    def tensors(self, inputs: Inputs) -> HeadTensors:
        """Three ensembles side by side; the probability of a rise is turned back into log odds."""
        graph = inputs.graph
        location, size = (_ensemble(self._boosters[name], inputs)[0] for name in ("location", "size"))
        prob_up = graph.columns(_ensemble(self._boosters["direction"], inputs)[1], 1, 2)
        prob_down = graph.add("Sub", graph.constant(1.0), prob_up)
        return HeadTensors(location, size, graph.add("Log", graph.add("Div", prob_up, prob_down)))

    def _boosted(
        self, features: NDArray[np.float32], target: NDArray[np.float64], objective: str, *, trees: int
    ) -> lightgbm.Booster:
        parameters = {**_COMMON, "objective": objective, "seed": self._seed}
        return lightgbm.train(parameters, lightgbm.Dataset(features, target), trees)


def _ensemble(booster: lightgbm.Booster, inputs: Inputs) -> list[str]:
    kind = FloatTensorType([None, booster.num_feature()])
    model = convert_lightgbm(booster, initial_types=[("x", kind)], target_opset=OPSET, zipmap=False)
    return inputs.graph.absorb(model, inputs.features)
