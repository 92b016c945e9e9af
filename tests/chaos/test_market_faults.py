"""NATS killed, frozen and flooded: what is computed on is never old, and every gap is counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from tests.support.scene.faults import market
from tests.support.scene.faults.fault import Fault

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.nats, pytest.mark.timeout(300)]

FAULTS: Final = (
    Fault("NATS killed, back after 5 s", market.killed(5), seconds=30, available=0.6, recovery_s=5),
    Fault("NATS frozen 10 s", market.frozen(10), seconds=35, available=0.5, recovery_s=5),
    Fault("ten times as many ticks for 10 s", market.burst(10, 10), seconds=25, available=0.99, recovery_s=2),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_the_market_costs_forecasts_and_no_signal(
    fault: Fault, happened: Callable[[Fault], Awaitable[None]]
) -> None:
    """What fell due without ticks is settled as skipped or undelivered, with the reason."""
    await happened(fault)
