"""Usage for tests: reports and signals as they lie in the log, and who counts them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import orjson

from deployments.control.usage.alerts import Allowances
from deployments.control.usage.intake import UsageWires
from messaging.ports import EventBus, Record
from models.events import CLAIM_KEY
from models.metrics import MemoryMeter
from models.principal import Tier
from models.usage import Measure, UsageLine, UsageReport
from storage.postgres.database import Database

TODAY = date(2026, 11, 22)
ALLOWANCES: Allowances = {Tier.PRO: {Measure.CALLS: 100, Measure.SIGNALS: 1_000}}


def line(amount: int, *, tenant: str = "acme", user: str = "ann", **other: Any) -> UsageLine:
    """So many calls of a user."""
    facts = {"day": TODAY, "tier": "pro", "feature": "inference", "measure": Measure.CALLS, **other}
    return UsageLine(tenant_id=tenant, user_id=user, amount=amount, **facts)


def report(sequence: int, *lines: UsageLine, source: str = "gateway-1") -> Record:
    """A report as it lies in `hub.usage`."""
    made = UsageReport(source=source, sequence=sequence, lines=lines)
    return Record(source.encode(), made.model_dump_json(by_alias=True).encode())


def signal(
    sequence: int, *, epoch: int, tenant: str = "acme", user: str = "ann", tier: str = "pro"
) -> Record:
    """Of a signal what is counted by."""
    said = {
        "tenant_id": tenant,
        "user_id": user,
        "sequence": sequence,
        "epoch": epoch,
        "risk": {"tier": tier},
    }
    return Record(user.encode(), orjson.dumps(said))


def claim() -> Record:
    """Its writer owns the partition from here on."""
    return Record(CLAIM_KEY, b"{}")


def wires(
    database: Database, bus: EventBus, *, clock: Callable[[], int] = time.time_ns, seed: int = 1
) -> UsageWires:
    """What counts, without a rest between two looks."""
    return UsageWires(
        database=database,
        bus=bus,
        meter=MemoryMeter(),
        allowances=ALLOWANCES,
        clock=clock,
        rng=random.Random(seed),
        rest_s=0.0,
    )
