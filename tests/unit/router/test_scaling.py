"""Serve's policies: what was recorded becomes a pool's state; the policy's own state lives with Serve."""

from __future__ import annotations

from typing import Any

from ray.serve._private.autoscaling_state import _resolve_policy_callable
from ray.serve._private.common import DeploymentID
from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from deployments.pool.config import PoolConfig
from deployments.pool.deployment import serve_options
from deployments.router.scaling import APPLICATION_POLICY, POOL_POLICY, PoolScaling, pool_state

BUSY = {"slots": 2.0, "arrived_per_s": 20.0, "service_ms": 150.0, "queued": 0.0, "busy": 0.6, "waited": 0.0}


def context(*recorded: dict[str, float], now_s: float = 100.0, state: Any = None) -> AutoscalingContext:
    """What Serve hands to a policy, with what each replica recorded."""
    by_name: dict[str, dict[Any, float]] = {}
    for number, numbers in enumerate(recorded):
        for name, value in numbers.items():
            by_name.setdefault(name, {})[f"r{number}"] = value
    return AutoscalingContext(
        deployment_id=DeploymentID("pool-a", "hub"),
        deployment_name="pool-a",
        app_name="hub",
        current_num_replicas=max(1, len(recorded)),
        target_num_replicas=3,
        running_replicas=[],
        total_num_requests=0.0,
        total_queued_requests=0.0,
        aggregated_metrics=lambda: by_name,
        raw_metrics=None,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=20,
        policy_state=state or {},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=now_s,
        config=AutoscalingConfig(),
    )


def test_rates_add_up_times_and_shares_weigh_by_calls() -> None:
    """A replica that served nothing says nothing about service times."""
    idle = {"slots": 2.0, "arrived_per_s": 0.0, "queued": 0.0, "busy": 0.0}
    slow = BUSY | {"arrived_per_s": 60.0, "service_ms": 350.0, "waited": 0.1, "queued": 3.0}
    pool = pool_state(context(BUSY, slow, idle).aggregated_metrics or {}, 3)

    assert pool is not None
    assert (pool.arrived_per_s, pool.service_ms, pool.queued, pool.slots) == (80.0, 300.0, 3.0, 2)
    assert (round(pool.waited, 6), round(pool.busy, 6)) == (0.075, 0.4)


def test_pool_that_recorded_nothing_stays_as_it_is() -> None:
    """The first look comes before the first numbers."""
    assert PoolScaling()(context()) == (3, {})


def test_growth_is_remembered_from_look_to_look() -> None:
    """Serve keeps the policy's state; the second look sees the growth and asks for more."""
    policy = PoolScaling(may_miss=1.0)
    first, state = policy(context(BUSY, BUSY))
    calm, _ = policy(context(BUSY, BUSY, now_s=110.0, state=state))
    grown = BUSY | {"arrived_per_s": 30.0}
    second, _ = policy(context(grown, grown, now_s=110.0, state=state))
    from_scratch, _ = policy(context(grown, grown, now_s=110.0))

    assert first == calm
    assert second > from_scratch > first


def found(**named: Any) -> Any:
    """The policy as Serve's controller makes it."""
    return _resolve_policy_callable(AutoscalingPolicy.model_validate(named))


def test_policies_are_found_and_called_as_serve_does() -> None:
    """Both by their names, and for an application by deployment."""
    pool = found(policy_function=POOL_POLICY)
    application = found(policy_function=APPLICATION_POLICY, policy_kwargs={"may_wait": 0.1})
    one, deployment = context(BUSY, BUSY), DeploymentID("pool-a", "hub")
    wanted, state = application({deployment: one})

    assert wanted == {deployment: pool(one)[0]}
    assert set(state) == {deployment}


def test_pool_with_bounds_scales_between_them_by_our_policy() -> None:
    """Without `max_replicas` the number is fixed."""
    fixed = serve_options(PoolConfig(name="a", repository="x"))
    scaling = serve_options(PoolConfig(name="a", repository="x", replicas=2, max_replicas=8))
    config = AutoscalingConfig(**scaling["autoscaling_config"])

    assert (fixed["num_replicas"], "autoscaling_config" in fixed) == (2, False)
    assert (config.min_replicas, config.max_replicas) == (2, 8)
    assert config.policy.policy_function == POOL_POLICY
    assert "num_replicas" not in scaling
