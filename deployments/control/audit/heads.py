"""Signs how far each audit log has come, and keeps that where no database can change it: in
`hub.audit_heads`, and in a vault if there is one.

A head is only signed if the log still holds what was signed before: a history that was written anew gets no
new word of the hub's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from random import Random
from typing import Final, NoReturn

from pydantic import ValidationError

from messaging.ports import EventBus, Producer, Record
from messaging.topics import AUDIT_HEADS
from models.audit import SignedHead
from models.errors import AppendRefused, AppendUnknown, ConfigError, HubError
from models.metrics import Meter
from storage.audit_chain import Anchor
from storage.audit_signature import HeadSigner, HeadVerifier
from storage.audit_vault import AuditVault
from storage.postgres.audit import heads, standing
from storage.postgres.database import Database

_LOG: Final = logging.getLogger("ray.serve")
_APPEND_S: Final = 5.0


async def kept_heads(bus: EventBus, tenant_id: str | None = None) -> Sequence[SignedHead]:
    """What the log of heads holds, of all tenants or of one, whoever signed. BrokerUnavailable."""
    first, end = await bus.bounds(AUDIT_HEADS.name, 0)
    found: list[SignedHead] = []
    key = tenant_id.encode() if tenant_id else None
    if first == end:
        return found
    async with aclosing(bus.read(AUDIT_HEADS.name, 0, first, end)) as batches:
        async for records in batches:
            found += [_head(one.value or b"") for one in records if key is None or one.key == key]
    return found


class HeadKeeper:
    """`run` as a task, `keep` on demand. `clock` is wall time in nanoseconds."""

    def __init__(
        self,
        database: Database,
        bus: EventBus,
        signer: HeadSigner,
        *,
        vault: AuditVault | None,
        meter: Meter,
        clock: Callable[[], int],
        rng: Random,
        every_s: float,
    ) -> None:
        self._database = database
        self._bus = bus
        self._signer = signer
        self._verifier = HeadVerifier(signer.public_keys)
        self._vault = vault
        self._meter = meter
        self._clock = clock
        self._rng = rng
        self._every_s = every_s
        self._kept: dict[str, Anchor] | None = None
        self._producer: Producer | None = None
        self._turn = asyncio.Lock()

    @property
    def public_keys(self) -> Sequence[str]:
        """What the heads are verified with."""
        return self._signer.public_keys

    async def run(self) -> NoReturn:
        """Sign what has moved, every `every_s` seconds, through every outage."""
        while True:
            await asyncio.sleep(self._every_s * (0.75 + 0.5 * self._rng.random()))
            try:
                await self.keep()
            except HubError as error:
                _LOG.warning("audit heads are not signed: %s", error.message)

    async def keep(self) -> Sequence[SignedHead]:
        """Sign and keep the heads of all logs that have moved since; DatabaseAway, BrokerUnavailable."""
        async with self._turn:
            kept = await self._known()
            moved = await self._moved(kept)
            made = [self._signer.sign(tenant, at, now_ns=self._clock()) for tenant, at in moved.items()]
            await self.put(made)
            kept.update(moved)
        return made

    async def put(self, made: Sequence[SignedHead]) -> None:
        """Keep heads in the vault and in the log."""
        if not made:
            return
        if self._vault:
            await asyncio.to_thread(_put_all, self._vault, made)
        if self._producer is None:
            self._producer = await self._bus.producer("control-audit-heads")
        records = [
            Record(one.tenant_id.encode(), one.model_dump_json(by_alias=True).encode()) for one in made
        ]
        await _append(self._producer, records)
        self._count("signed", len(made))

    async def close(self) -> None:
        if self._producer:
            await self._producer.close()

    async def _known(self) -> dict[str, Anchor]:
        """The last head of each tenant that is on record; read once."""
        if self._kept is None:
            self._kept = {}
            for one in filter(self._verifier.is_good, await kept_heads(self._bus)):
                at = Anchor(one.sequence, bytes.fromhex(one.hash))
                if at.sequence >= self._kept.get(one.tenant_id, at).sequence:
                    self._kept[one.tenant_id] = at
        return self._kept

    async def _moved(self, kept: dict[str, Anchor]) -> dict[str, Anchor]:
        async with self._database.platform() as connection:
            now = {tenant: at for tenant, at in (await heads(connection)).items() if kept.get(tenant) != at}
            before = {tenant: kept[tenant] for tenant in now if tenant in kept}
            standing_still = await standing(connection, before)
        torn = sorted(before.keys() - standing_still)
        for tenant in torn:
            _LOG.error("the audit log of %s is not the one that was signed; run `hub audit verify`", tenant)
        self._count("torn", len(torn))
        return {tenant: at for tenant, at in now.items() if tenant not in torn}

    def _count(self, outcome: str, number: int) -> None:
        if number:
            self._meter.count("hub_audit_heads_total", {"outcome": outcome}, number)


async def _append(producer: Producer, records: Sequence[Record]) -> None:
    while records:
        fitting = max(1, producer.fits(records))
        try:
            await producer.append(AUDIT_HEADS.name, 0, records[:fitting], timeout_s=_APPEND_S)
        except (AppendRefused, AppendUnknown):
            await producer.rebuild()
            raise
        records = records[fitting:]


def _put_all(vault: AuditVault, made: Iterable[SignedHead]) -> None:
    for one in made:
        vault.put(one)


def _head(value: bytes) -> SignedHead:
    try:
        return SignedHead.from_record(value)
    except ValidationError:
        raise ConfigError(f"a record of {AUDIT_HEADS.name} is not a signed head; who wrote it?") from None
