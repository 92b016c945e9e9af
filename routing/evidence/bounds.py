"""Bounds that hold at every moment at once, however often one looks, for averages that fade.

The sum of deviations, whose weights grow instead of fading (which is the same average), is a martingale. Its
boundary is the stitched one of Howard, Ramdas, McAuliffe and Sekhon ("Time-uniform, nonparametric,
nonasymptotic confidence sequences", Annals of Statistics 2021, eq. 2): after intrinsic time v >= 1

    1.7 sqrt(v (log log(2 v) + 0.72 log(5.2 / alpha)))

is crossed with probability alpha at most. Intrinsic time is counted in variances of the first clusters. As
variances are estimated, the bound is asymptotic (Waudby-Smith et al., "Time-uniform central limit theory").
"""

from __future__ import annotations

import math

from models.card import Bounded
from routing.evidence.clusters import Ratio


def errors_wide(clusters: float, doublings: float, *, alpha: float, first: int) -> float:
    """How many standard errors a bound lies from its average."""
    spent = math.log(2.0) + math.log(max(clusters / first, 1.0)) + 2.0 * math.log(2.0) * doublings
    return 1.7 * math.sqrt(math.log(spent) + 0.72 * math.log(5.2 / alpha))


def bounded(ratio: Ratio, n: int, *, alpha: float, first: int) -> Bounded:
    """The ratio with its lower and its upper bound, each wrong at some moment with probability `alpha`."""
    half = ratio.error * errors_wide(ratio.clusters, ratio.doublings, alpha=alpha, first=first)
    return Bounded(
        value=round(ratio.value, 5),
        lower=round(ratio.value - half, 5),
        upper=round(ratio.value + half, 5),
        n=n,
    )


def share_bounded(ratio: Ratio, n: int, *, alpha: float, first: int) -> Bounded:
    """The same of a share, which lies in [0, 1]."""
    found = bounded(ratio, n, alpha=alpha, first=first)
    return found.model_copy(update={"lower": max(0.0, found.lower), "upper": min(1.0, found.upper)})


def gained(ratio: Bounded) -> Bounded:
    """1 - ratio: a ratio of losses as skill."""
    return Bounded(
        value=round(1 - ratio.value, 5),
        lower=round(1 - ratio.upper, 5),
        upper=round(1 - ratio.lower, 5),
        n=ratio.n,
    )
