"""Fan-outs and forecasters killed, frozen, thawed and sent away, each time while a slot is on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from tests.support.scene.crew import Role
from tests.support.scene.faults import workers
from tests.support.scene.faults.fault import Fault
from tests.support.scene.scene import Cast, Script

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
KILLED_S: Final = 8.0
"""Until others have taken over from a worker that died: the session, and the claims and restores after it."""
HAND_OVER_S: Final = 0.5
BAR_S: Final = 0.5
TWO: Final = Cast(forecasters=2, fanouts=2)
NO_OWNER: Final = "hub_undelivered_total{no_owner}"

FAULTS: Final = (
    Fault(
        "fan-out killed 20 times in mid-batch",
        workers.killed(Role.FANOUT, 20, every_s=9),
        seconds=200,
        available=0.6,
        recovery_s=KILLED_S,
        sign=NO_OWNER,
    ),
    Fault(
        "fan-out frozen for 15 s, longer than its session",
        workers.frozen(Role.FANOUT, 15),
        seconds=40,
        available=0.8,
        recovery_s=3,
        sign=NO_OWNER,
    ),
    Fault(
        "fan-out frozen for 3 s, within its session",
        workers.frozen(Role.FANOUT, 3),
        seconds=25,
        available=0.9,
        recovery_s=3,
    ),
    Fault(
        "forecaster killed 5 times in mid-batch",
        workers.killed(Role.FORECASTER, 5, every_s=10),
        seconds=70,
        cast=TWO,
        available=0.6,
        recovery_s=KILLED_S,
    ),
    Fault(
        "forecaster frozen for 15 s, longer than its session",
        workers.frozen(Role.FORECASTER, 15),
        seconds=40,
        cast=TWO,
        available=0.6,
        recovery_s=3,
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_workers_cost_a_take_over_and_nothing_else(
    fault: Fault, happened: Callable[[Fault], Awaitable[None]]
) -> None:
    """Every signal is there once, in order, in time and at its user, or recorded as undelivered."""
    await happened(fault)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    ("name", "change"),
    [("asked to end, another one ready", workers.stopped), ("scaled 1 -> 3 -> 1", workers.scaled)],
)
async def test_who_is_asked_to_end_hands_over_within_half_a_second(
    role: Role, name: str, change: Callable[[Role], Script], happened: Callable[[Fault], Awaitable[None]]
) -> None:
    """Nobody waits longer than that beyond the half second from one bar to the next."""
    await happened(
        Fault(
            f"{role} {name}",
            change(role),
            seconds=40,
            available=0.99,
            recovery_s=BAR_S + HAND_OVER_S,
            silence_s=BAR_S + HAND_OVER_S,
        )
    )
