"""How outcomes count. Evidence is a function of the outcomes and of these rules alone."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.base import Frozen

_Positive = Annotated[int, Field(gt=0)]


class EvidenceRules(Frozen):
    """Outcomes of `cluster_horizons` horizons of market time, of all instruments, count as one observation,
    because windows overlap and volatility comes in clusters. An observation counts half after `half_life_ms`.

    `alpha`: probability that a bound is ever wrong. `first_clusters`: before so many nothing is said.
    `prior_clusters`: with so many, live evidence counts as much as what was known before. `recent_clusters`:
    half-life of what drift is told from. `window`: outcomes that calibration is made of, `window_least` of
    them before there is any. `stretch_clusters` make a point of the history, which keeps `stretches`.
    """

    cluster_horizons: _Positive = 5
    half_life_ms: _Positive = 5 * 86_400_000
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    first_clusters: _Positive = 10
    prior_clusters: _Positive = 48
    recent_clusters: _Positive = 24
    window: _Positive = 500
    window_least: _Positive = 200
    stretch_clusters: _Positive = 3
    stretches: _Positive = 96
