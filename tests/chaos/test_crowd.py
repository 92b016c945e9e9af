"""A hundred thousand users, shared by three workers that come, hand over and die."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from tests.support.scene.crew import Role
from tests.support.scene.faults import workers
from tests.support.scene.faults.fault import Fault
from tests.support.scene.outcome import Outcome
from tests.support.scene.scene import STRATEGY, Cast, Scene

SPEED: Final = 1.25
BAR_S: Final = STRATEGY.bar_ms / 1000 / SPEED
TAKE_OVER_S: Final = 8.0
CROWD: Final = Cast(fanouts=1, users=100_000, symbols=STRATEGY.symbols[:1], speed=SPEED)


def all_had_work(scene: Scene, _outcome: Outcome) -> None:
    """Every worker that was there has sent signals to a fair share of the users."""
    for name in scene.crew.of(Role.FANOUT):
        metrics = scene.crew.told(name)[-1]["metrics"]
        sent = sum(value for metric, _, value in metrics if metric == "hub_signals_total")
        assert sent > CROWD.users / 6, f"{name} sent {sent} signals"


@pytest.mark.chaos
@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_three_workers_share_a_hundred_thousand_users(
    happened: Callable[[Fault], Awaitable[None]],
) -> None:
    """Each of more than a million deliveries is there once, in order, in time and at its user, or recorded as
    undelivered; one death makes that one in twenty at most.
    """
    await happened(
        Fault(
            "100,000 users on three fan-outs: scaled, one asked to end, one killed",
            workers.shared_by_three(Role.FANOUT, BAR_S),
            seconds=12 * BAR_S,
            cast=CROWD,
            available=0.95,
            recovery_s=BAR_S + TAKE_OVER_S,
            judge=all_had_work,
        )
    )
