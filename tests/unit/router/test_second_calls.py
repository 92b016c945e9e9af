"""Second calls and the ladder: beside a late call, elsewhere after a failed one, or by a smaller model."""

from __future__ import annotations

import asyncio

import pytest

from models.decision import Degradation
from models.errors import InferenceFailed, NothingFeasible
from routing.protection.budget import RETRIES
from tests.support.cards import a_card
from tests.unit.router.test_routed_client import Hub, ScriptedPools, a_hub

PROFILE = "performance_optimized"


async def earned(hub: Hub, calls: int = 80) -> None:
    """Enough calls that were in time for the budget to hold a second one."""
    for _ in range(calls):
        await hub.infer()
    hub.pools.sent.clear()


async def test_a_late_call_gets_a_second_one_beside_it() -> None:
    """The first answer counts, the late call is stopped, and nothing stays reserved."""
    hub = a_hub(ScriptedPools())
    await earned(hub)
    hub.pools.stalls = 1

    answer = await hub.infer(within_s=0.5)

    first, second = hub.pools.tried
    assert (answer.decision.replica, answer.decision.attempt) == (second, 2)
    assert first != second
    assert hub.counted("hub_hedges_total", profile=PROFILE) == 1
    assert (hub.pools.cancelled, hub.in_flight()) == (1, 0)


async def test_a_late_call_has_to_do_without_a_second_one_that_nobody_earned() -> None:
    """At most one call in fifty gets one."""
    hub = a_hub(ScriptedPools())
    await earned(hub, 20)
    hub.pools.stalls, hub.pools.stall_s = 1, 0.2

    answer = await hub.infer(within_s=0.5)

    assert (answer.decision.attempt, len(hub.pools.sent)) == (1, 1)


async def test_whoever_gives_up_stops_both_calls() -> None:
    """Cancelling the caller cancels whatever is out."""
    hub = a_hub(ScriptedPools())
    await earned(hub)
    hub.pools.stalls = 2
    task = asyncio.create_task(hub.infer(within_s=0.5))
    async with asyncio.timeout(5):
        while len(hub.pools.sent) < 2:  # noqa: ASYNC110 - the pool has no event to wait for
            await asyncio.sleep(0.001)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert (hub.pools.cancelled, hub.in_flight()) == (2, 0)


async def test_retries_cannot_double_the_load() -> None:
    """Where every call fails, only as many second attempts are made as the budget has."""
    hub = a_hub(ScriptedPools(lambda call, ticket: InferenceFailed("broken")), replicas=["r1", "r2", "r3"])
    for _ in range(100):
        with pytest.raises(InferenceFailed):
            await hub.infer()

    extra = len(hub.pools.sent) - 100

    assert 0 < extra <= 100 * RETRIES.share + 2 * RETRIES.least_per_s + 1


async def test_a_named_model_that_is_too_slow_is_stood_in_for_by_a_smaller_one() -> None:
    """The answer is labelled; the same request without hurry gets the model it names."""
    cards = (a_card("quick", warm_ms=1.0), a_card("thorough", warm_ms=400.0))
    hub = a_hub(ScriptedPools(), cards=cards)

    hurried, calm = await hub.infer(within_s=0.1, model="thorough"), await hub.infer(model="thorough")

    assert (hurried.decision.chosen.name, hurried.decision.degradation) == (
        "quick",
        Degradation.SMALLER_MODEL,
    )
    assert hurried.lineage.degradation is Degradation.SMALLER_MODEL
    assert (calm.decision.chosen.name, calm.decision.degradation) == ("thorough", Degradation.NONE)


async def test_the_refusal_is_that_of_what_was_asked() -> None:
    """Where not even a smaller model is in time, the error speaks of the model that was named."""
    cards = (a_card("slow", warm_ms=300.0), a_card("slower", warm_ms=400.0))
    hub = a_hub(ScriptedPools(), cards=cards)

    with pytest.raises(NothingFeasible) as caught:
        await hub.infer(within_s=0.1, model="slower")

    assert caught.value.details["best_model"] == "slower@1"
