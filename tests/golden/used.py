"""Signed heads, reports of usage and what tenants are told, as this release writes and reads them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from deployments.control.audit import denials as intake
from deployments.control.usage.alerts import event_of
from deployments.control.usage.fold import ReportFold, read_report
from deployments.front.denials import DenialLog
from deployments.front.metering import UsageMeter
from messaging.memory import MemoryBus, MemoryLog
from messaging.topics import AUDIT_HEADS, DENIALS, TENANT_EVENTS, USAGE, create_topics
from models.audit import SignedHead
from models.metrics import MemoryMeter
from models.usage import Measure, SubscriptionViolation, TenantLimitApproaching
from signals.encoding import encode
from storage.audit_chain import origin
from storage.audit_signature import HeadSigner, HeadVerifier
from storage.postgres.usage_alerts import ENDED, Alert
from tests.golden.logs import Golden
from tests.unit.gateway.doubles import principal

_SIGNER = HeadSigner.of("5a" * 32)


async def used() -> list[Golden]:
    """Two reports of use and one of denials by one process, a signed head, and each kind of event."""
    log = MemoryLog(random.Random(1), clock=time.time_ns)
    bus = MemoryBus(log, "gateway")
    await create_topics(bus, 1, [USAGE, DENIALS])
    usage = UsageMeter(bus, name="gateway", clock=time.time_ns, rng=random.Random(2), meter=MemoryMeter())
    for amount in (3, 4):
        usage.count(principal(), "inference", Measure.CALLS, amount)
        await usage.flush()
    await usage.close()
    await _deny(bus)
    found = [*log.partition(USAGE.name, 0).records, *log.partition(DENIALS.name, 0).records]
    reports = [Golden(o.topic, o.partition, o.offset, o.timestamp_ms, o.key, o.value) for o in found]
    return [*reports, _head(), *_told()]


def folded(found: list[Golden]) -> dict[str, int]:
    """What today's fold makes of reports."""
    fold = ReportFold({})
    for one in found:
        fold.take(read_report(one.record))
    return {**fold.outcomes, "amount": sum(fold.amounts.values())}


def denied(found: list[Golden]) -> list[str]:
    """What today's intake reads of denials."""
    reports = [intake.read_report(one.record) for one in found]
    return [f"{one.tenant_id} {one.denials[0].action} {one.denials[0].times}" for one in reports if one]


def believed(found: list[Golden]) -> int:
    """How many heads the key of then vouches for."""
    verifier = HeadVerifier(_SIGNER.public_keys)
    return sum(verifier.is_good(SignedHead.from_record(one.value or b"")) for one in found)


def told(found: list[Golden]) -> list[str]:
    """The ids of events."""
    kinds: dict[str, type[TenantLimitApproaching | SubscriptionViolation]] = {
        "hub.tenant-limit-approaching/1": TenantLimitApproaching,
        "hub.subscription-violation/1": SubscriptionViolation,
    }
    return [kinds[one.body["schema"]].from_record(one.value or b"").event_id for one in found]


async def _deny(bus: MemoryBus) -> None:
    denials = DenialLog(
        bus,
        name="gateway",
        clock=time.time_ns,
        monotonic=time.monotonic,
        rng=random.Random(3),
        meter=MemoryMeter(),
    )
    denials.note(principal(), "access.infer", "POST /api/v1/infer")
    await denials.flush()
    await denials.close()


def _head() -> Golden:
    head = _SIGNER.sign("acme", origin("acme")._replace(sequence=7), now_ns=1)
    return Golden(AUDIT_HEADS.name, 0, 0, 1, b"acme", encode(head))


def _told() -> Iterator[Golden]:
    for offset, (level, used_now) in enumerate(((80, 85), (100, 120), (ENDED, 1))):
        alert = Alert("acme", "2026-11", Measure.CALLS, level, used_now, 100, 1)
        yield Golden(TENANT_EVENTS.name, 0, offset, 1, b"acme", encode(event_of(alert)))
