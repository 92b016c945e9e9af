"""What came of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

WARM_UP: Final = 1000
"""Requests at the start of a trace that no figure counts: the routers know nothing yet."""
NEAR: Final = 1.1


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One entry per request after the warm-up.

    `completion_ms` is from request to reply, NaN without an answer. `near_best` tells whether the chosen
    replica's true expected completion was within 10 % of the best at the moment of the decision, `slow`
    whether it was a slow one then, `p_meet` what was promised, NaN if the request was refused; `hedged`
    whether a second call was sent.
    """

    completion_ms: NDArray[np.float64]
    near_best: NDArray[np.bool_]
    slow: NDArray[np.bool_]
    p_meet: NDArray[np.float64]
    hedged: NDArray[np.bool_]

    @property
    def mean_ms(self) -> float:
        return float(np.nanmean(self.completion_ms))

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which requests were answered before their deadline."""
        return ~np.isnan(self.completion_ms)

    @property
    def refused(self) -> int:
        """How many were not sent anywhere."""
        return int(np.isnan(self.p_meet).sum())

    def percentile_ms(self, share: float) -> float:
        return float(np.nanpercentile(self.completion_ms, share))


class Recorder:
    """Takes notes while a run goes on."""

    def __init__(self, requests: int) -> None:
        self._completion_ms = [float("nan")] * requests
        self._near_best = [False] * requests
        self._slow = [False] * requests
        self._p_meet = [float("nan")] * requests
        self._hedged = [False] * requests

    def chosen(self, number: int, *, near_best: bool, slow: bool, p_meet: float) -> None:
        self._near_best[number] = near_best
        self._slow[number] = slow
        self._p_meet[number] = p_meet

    def hedged(self, number: int) -> None:
        self._hedged[number] = True

    def answered(self, number: int, completion_ms: float) -> None:
        self._completion_ms[number] = completion_ms

    def run(self) -> Run:
        return Run(
            np.array(self._completion_ms[WARM_UP:]),
            np.array(self._near_best[WARM_UP:]),
            np.array(self._slow[WARM_UP:]),
            np.array(self._p_meet[WARM_UP:]),
            np.array(self._hedged[WARM_UP:]),
        )
