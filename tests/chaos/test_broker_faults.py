"""Brokers killed, frozen, gone and full, while every user is owed a signal every quarter of a second."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.scene.disk import small_disk
from tests.support.scene.faults import brokers
from tests.support.scene.faults.fault import Fault
from tests.support.scene.outcome import Outcome
from tests.support.scene.scene import Cast, Scene

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
THREE: Final = Cast(brokers=3)
UNKNOWN: Final = "hub_append_total{unknown}"
DISK_MIB: Final = 96


def _nothing_stale(_scene: Scene, outcome: Outcome) -> None:
    """What waited through an outage longer than its expiry is not sent afterwards."""
    assert outcome.stale == 0, outcome.row()


FAULTS: Final = (
    Fault(
        "broker leader killed every 5 s for 60 s, three brokers",
        brokers.leaders_killed(60, every_s=5),
        seconds=100,
        cast=THREE,
        available=0.5,
        recovery_s=20,
        sign=UNKNOWN,
    ),
    Fault(
        "broker leader frozen 30 s, three brokers",
        brokers.leader_frozen(30),
        seconds=60,
        cast=THREE,
        available=0.7,
        recovery_s=8,
    ),
    Fault("the only broker frozen 30 s", brokers.leader_frozen(30), seconds=60, available=0.3, recovery_s=8),
    Fault(
        "all brokers down 20 s, three brokers",
        brokers.all_down(20),
        seconds=60,
        cast=THREE,
        available=0.3,
        recovery_s=10,
        sign=UNKNOWN,
        judge=_nothing_stale,
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_brokers_cost_availability_and_nothing_else(
    fault: Fault, happened: Callable[[Fault], Awaitable[None]]
) -> None:
    """Every signal is there once, in order, in time and at its user, or recorded as undelivered."""
    await happened(fault)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small one."""
    with small_disk(tmp_path / "disk", mib=DISK_MIB) as mounted:
        yield mounted


@pytest.mark.parametrize("count", [1, 3])
async def test_a_full_disk_costs_what_the_death_of_its_broker_costs(
    count: int, disk: Path, happened: Callable[[Fault], Awaitable[None]]
) -> None:
    """The broker refuses or ends; nothing torn is read, and with room and a restart all goes on."""
    name = f"disk of a broker full for 10 s, {count} of them"
    script, cast = brokers.disk_full(disk, 10), Cast(brokers=count, data={1: disk / "data"})
    available, recovery_s = (0.3, 10) if count == 1 else (0.7, 8)
    await happened(Fault(name, script, seconds=45, cast=cast, available=available, recovery_s=recovery_s))
