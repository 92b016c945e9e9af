"""The faults of `make chaos` on one broker, each for a few seconds: the ledger stays clean through them.

Several share a scene where that leaves them judgeable. What they cost is measured in `make chaos`, for longer
and on three brokers; here, on whatever machine, only what no fault may cost is held to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from serve_app.servers.apache_kafka import missing_reason
from tests.conftest import without_kafka
from tests.support.scene.crew import Role
from tests.support.scene.faults import brokers, market, workers
from tests.support.scene.faults.fault import Fault
from tests.support.scene.faults.market import one_after_the_other
from tests.support.scene.scene import Cast

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400)]
LONGER_THAN_EXPIRY_S: Final = 5.0
LONGER_THAN_SESSION_S: Final = 7.0
ANY: Final = float("inf")

FAULTS: Final = (
    Fault(
        "the broker frozen, then killed",
        one_after_the_other(brokers.leader_frozen(LONGER_THAN_EXPIRY_S), brokers.all_down(1)),
        seconds=32,
        available=0.05,
        recovery_s=ANY,
        sign="hub_append_total{unknown}",
    ),
    Fault(
        "a fan-out and a forecaster killed, a fan-out frozen",
        one_after_the_other(
            workers.killed(Role.FANOUT, 1, every_s=0.5),
            workers.killed(Role.FORECASTER, 1, every_s=0.5),
            workers.frozen(Role.FANOUT, LONGER_THAN_SESSION_S),
        ),
        seconds=34,
        cast=Cast(forecasters=2, fanouts=3),
        available=0.05,
        recovery_s=ANY,
        sign="hub_undelivered_total{no_owner}",
    ),
    Fault(
        "NATS killed, frozen and flooded",
        one_after_the_other(market.burst(10, 2), market.frozen(3), market.killed(1)),
        seconds=26,
        available=0.05,
        recovery_s=ANY,
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_no_fault_loses_doubles_delays_or_misdelivers(fault: Fault, tmp_path: Path) -> None:
    """Every due signal is there once, in order, in time and at its user, or recorded as undelivered."""
    if reason := missing_reason():
        without_kafka(reason)
    fault.check(await fault.happen(tmp_path))
