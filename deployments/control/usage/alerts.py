"""What tenants are told of their limits: noticed with the count itself, told afterwards, each once a month.

A limit is noticed in the transaction that counts what reached it, so neither a kill nor a replay loses one or
raises it twice. It is told on `hub.tenant_events`, then put down in the tenant's audit log together with the
mark that it was told; a process that dies in between tells again, with the same `event_id`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, time
from hashlib import blake2b
from random import Random
from typing import Final, NoReturn

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.ports import EventBus, Producer, Record
from messaging.topics import TENANT_EVENTS
from models.audit import AuditEntry
from models.errors import AppendNotSent, HubError, MessagingError
from models.principal import Tier
from models.tenant import PLATFORM_TENANT
from models.usage import (
    Measure,
    SubscriptionViolation,
    TenantLimitApproaching,
    UsageKey,
    Violation,
    crossed,
    month_of,
)
from storage.postgres import audit, usage_alerts
from storage.postgres.database import Database
from storage.postgres.usage_alerts import ENDED, Alert

_LOG: Final = logging.getLogger("ray.serve")
Allowances = Mapping[Tier, Mapping[Measure, int]]
"""What a tier allows in a month; what is not named is not limited."""
ACTOR: Final = "hub"
_EVERY_S: Final = 2.0
_APPEND_S: Final = 5.0
_MOST: Final = 200
_EXCEEDED: Final = 100


async def raise_alerts(
    connection: AsyncConnection, amounts: Mapping[UsageKey, int], allowances: Allowances, *, now_ns: int
) -> None:
    """Put down which limits tenants have reached with these amounts, in the transaction that adds them."""
    touched = {(key.tenant_id, month_of(key.day)) for key in amounts if key.tenant_id != PLATFORM_TENANT}
    if not touched:
        return
    standings = await usage_alerts.standings(connection, touched)
    found = [alert for one in standings for alert in _reached(one, allowances.get(one.tier, {}), now_ns)]
    found += _ended(amounts, {one.tenant_id: one.entitled_until_ns for one in standings}, now_ns)
    await usage_alerts.put(connection, found)


class AlertTeller:
    """Tells what was noticed. Run `run` as a task. `clock` is wall time in nanoseconds."""

    def __init__(self, database: Database, bus: EventBus, *, clock: Callable[[], int], rng: Random) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._producer: Producer | None = None

    async def run(self) -> NoReturn:
        """Tell until cancelled, through every outage."""
        while True:
            try:
                await self.tell()
            except HubError as error:
                _LOG.warning("tenants are not told of their limits: %s", error.message)
            await asyncio.sleep(_EVERY_S * (0.5 + self._rng.random()))

    async def tell(self) -> int:
        """Tell what was not told; how many that were."""
        async with self._database.platform() as connection:
            waiting = await usage_alerts.untold(connection, most=_MOST)
        for alert in waiting:
            await self._append(alert)
            await self._note(alert)
        return len(waiting)

    async def close(self) -> None:
        if self._producer:
            await self._producer.close()

    async def _append(self, alert: Alert) -> None:
        if self._producer is None:
            self._producer = await self._bus.producer("control-tenant-events")
        record = Record(alert.tenant_id.encode(), event_of(alert).model_dump_json(by_alias=True).encode())
        try:
            await self._producer.append(TENANT_EVENTS.name, 0, [record], timeout_s=_APPEND_S)
        except AppendNotSent:
            raise
        except MessagingError:
            await self._producer.rebuild()
            raise

    async def _note(self, alert: Alert) -> None:
        """Once, whoever else told it."""
        event = event_of(alert)
        kind = "limit_approaching" if isinstance(event, TenantLimitApproaching) else "subscription_violation"
        entry = AuditEntry(
            actor=ACTOR,
            action=f"usage.{kind}",
            object=f"{alert.month}/{alert.measure}",
            at_ns=self._clock(),
            details=event.model_dump(mode="json", exclude={"schema_"}),
        )
        async with self._database.tenant(alert.tenant_id) as connection:
            if await usage_alerts.told(connection, alert, now_ns=self._clock()):
                await audit.append(connection, alert.tenant_id, entry)


def event_of(alert: Alert) -> TenantLimitApproaching | SubscriptionViolation:
    """The event; the same alert gives the same one."""
    common = {
        "event_id": _event_id(alert),
        "tenant_id": alert.tenant_id,
        "month": alert.month,
        "measure": alert.measure,
        "used": alert.used,
        "allowed": alert.allowed,
        "at_ns": alert.at_ns,
    }
    if alert.level in {ENDED, _EXCEEDED}:
        ended = alert.level == ENDED
        violation = Violation.ENTITLEMENT_ENDED if ended else Violation.LIMIT_EXCEEDED
        return SubscriptionViolation.model_validate({**common, "violation": violation})
    return TenantLimitApproaching.model_validate({**common, "level": alert.level})


def _event_id(alert: Alert) -> str:
    said = orjson.dumps([alert.tenant_id, alert.month, alert.measure, alert.level])
    return blake2b(said, digest_size=16, person=b"hub-alert").hexdigest()


def _reached(standing: usage_alerts.Standing, allowed: Mapping[Measure, int], now_ns: int) -> Iterable[Alert]:
    limit = allowed.get(standing.measure)
    if limit is None:
        return
    for level in crossed(standing.used, limit):
        yield Alert(standing.tenant_id, standing.month, standing.measure, level, standing.used, limit, now_ns)


def _ended(
    amounts: Mapping[UsageKey, int], entitled_until_ns: Mapping[str, int], now_ns: int
) -> Iterable[Alert]:
    """Use on a day before which the entitlement had ended; of the day itself nobody can say."""
    for key, amount in amounts.items():
        begun_ns = int(datetime.combine(key.day, time(), UTC).timestamp()) * 10**9
        if entitled_until_ns.get(key.tenant_id, begun_ns + 1) <= begun_ns:
            yield Alert(key.tenant_id, month_of(key.day), key.measure, ENDED, amount, 0, now_ns)
