"""Serve's autoscaling policies: what the replicas of a pool recorded, judged by `routing/scaling.py`.

They run in Serve's controller, once per control loop. They read the numbers that each replica gives in
`record_autoscaling_stats`, averaged by Serve over its look-back period; bounds and delays are Serve's, too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from ray.serve.config import AutoscalingContext

from routing.scaling import PoolState, ScalingConfig, Trend, replicas_wanted

POOL_POLICY: Final = "deployments.router.scaling:PoolScaling"
"""For one deployment, in its own options."""
APPLICATION_POLICY: Final = "deployments.router.scaling:ApplicationScaling"
"""For all deployments of an application that scale, in the application's configuration."""

_TREND: Final = "hub_trend"
_Recorded = Mapping[str, Mapping[Any, float]]
"""By name, then by replica."""


class PoolScaling:
    """The policy of one pool; the arguments are those of `ScalingConfig`."""

    def __init__(self, **config: Any) -> None:
        self._config = ScalingConfig(**config)

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """How many replicas the pool should have; as many as now while none has recorded anything."""
        pool = pool_state(context.aggregated_metrics or {}, context.current_num_replicas)
        if pool is None:
            return context.target_num_replicas, dict(context.policy_state)
        trend = _trend(context, pool.erlangs)
        wanted = replicas_wanted(
            pool,
            self._config,
            least=context.capacity_adjusted_min_replicas,
            most=context.capacity_adjusted_max_replicas,
            growth_per_s=trend.growth_per_s,
        )
        return wanted, {_TREND: tuple(trend)}


class ApplicationScaling:
    """The same for every pool of an application. Deployments that record nothing stay as they are."""

    def __init__(self, **config: Any) -> None:
        self._pool = PoolScaling(**config)

    def __call__(
        self, contexts: Mapping[Any, AutoscalingContext]
    ) -> tuple[dict[Any, int], dict[Any, dict[str, Any]]]:
        """Wanted replicas and policy state by deployment."""
        judged = {deployment: self._pool(context) for deployment, context in contexts.items()}
        return (
            {deployment: wanted for deployment, (wanted, _) in judged.items()},
            {deployment: state for deployment, (_, state) in judged.items()},
        )


def pool_state(recorded: _Recorded, replicas: int) -> PoolState | None:
    """The pool as its replicas recorded it, times and shares weighed by calls; None if none did."""
    arrived = recorded.get("arrived_per_s", {})
    if not arrived:
        return None
    return PoolState(
        replicas=max(1, replicas),
        slots=max(1, round(max(recorded["slots"].values()))),
        arrived_per_s=sum(arrived.values()),
        service_ms=_weighted(recorded.get("service_ms", {}), arrived),
        queued=sum(recorded["queued"].values()),
        busy=sum(recorded["busy"].values()) / len(recorded["busy"]),
        waited=_weighted(recorded.get("waited", {}), arrived),
    )


def _weighted(values: Mapping[Any, float], weights: Mapping[Any, float]) -> float:
    total = sum(weights.get(replica, 0.0) for replica in values)
    if not total:
        return 0.0
    return sum(value * weights.get(replica, 0.0) for replica, value in values.items()) / total


def _trend(context: AutoscalingContext, erlangs: float) -> Trend:
    now_s = context.current_time or time.time()
    known = context.policy_state.get(_TREND)
    return Trend(*known).followed(erlangs, now_s) if known else Trend(now_s, erlangs)
