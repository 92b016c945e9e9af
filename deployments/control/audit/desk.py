"""The audit logs as they are read and checked; who writes them is `changes.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from deployments.control.acting import absent
from deployments.control.audit.heads import HeadKeeper, kept_heads
from messaging.ports import EventBus
from models.audit import AuditRecord, AuditReport, SignedHead
from models.errors import BadValue, ConfigError, RateLimited
from storage.audit_chain import Anchor
from storage.audit_signature import HeadVerifier
from storage.postgres import audit
from storage.postgres.audit import Place, Wanted
from storage.postgres.audit_check import AuditCheck, Vouchers, tenants
from storage.postgres.database import Database

_RETRY_S: Final = 5.0


class AuditDesk:
    """What the routes of the audit call. Without a `keeper` nothing is signed."""

    def __init__(self, database: Database, bus: EventBus, keeper: HeadKeeper | None) -> None:
        self._database = database
        self._bus = bus
        self._keeper = keeper
        self._verifier = HeadVerifier(keeper.public_keys if keeper else ())
        self._checking = asyncio.Lock()

    @property
    def public_keys(self) -> Sequence[str]:
        """What signed heads are verified with."""
        return self._keeper.public_keys if self._keeper else ()

    async def page(self, tenant_id: str, wanted: Wanted, *, after: int, most: int) -> Sequence[AuditRecord]:
        """Entries of a tenant, in their order."""
        async with self._database.tenant(tenant_id) as connection:
            return await audit.page(connection, tenant_id, wanted, after=after, most=most)

    async def platform_page(self, wanted: Wanted, *, after: str, most: int) -> Sequence[AuditRecord]:
        """Entries of all tenants, by time; `after` is the place that the last page ended at."""
        place = parsed(after) if after else Place()
        async with self._database.platform() as connection:
            return await audit.platform_page(connection, wanted, after=place, most=most)

    async def head(self, tenant_id: str) -> Anchor:
        """The last entry of a tenant's log; NotFound for who has none."""
        async with self._database.tenant(tenant_id) as connection:
            found = await audit.head(connection, tenant_id)
        if found is None:
            raise absent()
        return found

    async def sign(self) -> Sequence[SignedHead]:
        """Sign and keep, now, the heads of all logs that have moved since they were last signed."""
        if self._keeper is None:
            raise ConfigError("nothing signs audit heads here; set `audit.key`", field="audit.key")
        return await self._keeper.keep()

    async def verify(self, tenant_id: str) -> AuditReport:
        """Check one log against its chain and what was signed. One check at a time."""
        async with self._one():
            vouchers = Vouchers(self._verifier, await kept_heads(self._bus, tenant_id))
            async with self._database.tenant(tenant_id) as connection:
                return await AuditCheck(connection, vouchers).run([tenant_id])

    async def verify_all(self) -> AuditReport:
        """Check all logs, also of tenants of which nothing but a signed head is left."""
        async with self._one():
            vouchers = Vouchers(self._verifier, await kept_heads(self._bus))
            async with self._database.platform() as connection:
                every = sorted(vouchers.tenants.union(await tenants(connection)))
                return await AuditCheck(connection, vouchers).run(every)

    def _one(self) -> asyncio.Lock:
        if self._checking.locked():
            raise RateLimited("a log is being checked; try again", retry_after_s=_RETRY_S)
        return self._checking


def place_of(record: AuditRecord) -> str:
    """Where a page over all tenants that ended with this entry goes on."""
    return f"{record.at_ns}:{record.sequence}:{record.tenant_id}"


def parsed(text: str) -> Place:
    """The place that `place_of` gave; BadValue, naming `after`, for anything else."""
    at_ns, _, rest = text.partition(":")
    sequence, _, tenant_id = rest.partition(":")
    if not (_is_number(at_ns) and _is_number(sequence) and tenant_id and tenant_id.isprintable()):
        raise BadValue("after was not the `next` of an earlier page", field="after")
    return Place(int(at_ns), tenant_id, int(sequence))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) < 2**63
