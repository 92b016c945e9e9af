"""Reads audit logs from end to end and checks them: the chain, the cuts, and what was signed.

The same code serves a request about one tenant and an auditor of all; only the connection differs. Entries
come by a server-side cursor, so memory stays flat however long a log is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from sqlalchemy import RowMapping, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from models.audit import AuditReport, Fault, Finding, HeadKind, SignedHead
from storage.audit_chain import MOST_LISTED, Anchor, ChainCheck, origin
from storage.audit_signature import HeadVerifier
from storage.postgres.audit import head
from storage.postgres.tables.audit import AUDIT_CUTS as C
from storage.postgres.tables.audit import AUDIT_ENTRIES as E
from storage.postgres.tables.audit import AUDIT_HEADS as H

BATCH: Final = 2_000
"""Rows that are hashed at once: some milliseconds, for which nothing else of the process runs."""

_END: Final = 2**63 - 1
_COLUMNS: Final = (
    E.c.sequence,
    E.c.at_ns,
    E.c.actor,
    E.c.action,
    E.c.object,
    E.c.outcome,
    E.c.details,
    E.c.hash,
)

Advance = Callable[[int], None]
"""Is told how many more entries were read."""


class Vouchers:
    """Signed heads, by tenant, as they were kept elsewhere. One that the hub never signed is a finding."""

    def __init__(self, verifier: HeadVerifier, heads: Iterable[SignedHead] = ()) -> None:
        self._verifier = verifier
        self._good: dict[str, list[SignedHead]] = {}
        self.forged: list[Finding] = []
        for one in heads:
            self.add(one)

    @property
    def tenants(self) -> frozenset[str]:
        return frozenset(self._good)

    def add(self, one: SignedHead) -> None:
        """One more head that was found somewhere."""
        if self._verifier.is_good(one):
            self._good.setdefault(one.tenant_id, []).append(one)
        else:
            self.forged.append(_forged(one))

    def of(self, tenant_id: str) -> Sequence[SignedHead]:
        """The tenant's heads whose signatures are good."""
        return self._good.get(tenant_id, ())

    def is_good(self, one: SignedHead) -> bool:
        return self._verifier.is_good(one)


async def tenants(connection: AsyncConnection) -> Sequence[str]:
    """All that have a log."""
    found = await connection.execute(union(select(H.c.tenant_id), select(E.c.tenant_id).distinct()))
    return sorted(found.scalars())


async def cuts(connection: AsyncConnection, tenant_id: str) -> Sequence[SignedHead]:
    """Where the tenant's log was cut, oldest first, whoever signed."""
    rows = await connection.execute(select(C).where(C.c.tenant_id == tenant_id).order_by(C.c.sequence))
    return [_cut(row) for row in rows.mappings()]


class AuditCheck:
    """Checks logs on a connection whose transaction may see them. `advance` hears of entries as they come."""

    def __init__(
        self, connection: AsyncConnection, vouchers: Vouchers, *, advance: Advance | None = None
    ) -> None:
        self._connection = connection
        self._vouchers = vouchers
        self._advance = advance or (lambda _: None)

    async def run(self, tenant_ids: Iterable[str]) -> AuditReport:
        """Check the logs of these tenants, one after the other."""
        checked, forged = [], list(self._vouchers.forged)
        for tenant_id in tenant_ids:
            checking, bad_cuts = await self._check(tenant_id)
            checked.append(checking)
            forged += bad_cuts
        found = [*forged, *(finding for one in checked for finding in one.findings)]
        return AuditReport(
            tenants=len(checked),
            entries=sum(one.entries for one in checked),
            signed=sum(one.signed for one in checked),
            unsigned=sum(one.unsigned for one in checked),
            faults=len(forged) + sum(one.faults for one in checked),
            findings=tuple(found[:MOST_LISTED]),
        )

    async def _check(self, tenant_id: str) -> tuple[ChainCheck, Sequence[Finding]]:
        """Once; again if the log was cut meanwhile, since then entries went while they were read."""
        while True:
            found = await cuts(self._connection, tenant_id)
            good = [cut for cut in found if self._vouchers.is_good(cut)]
            checked = await self._read(tenant_id, good)
            if checked.faults == 0 or len(await cuts(self._connection, tenant_id)) == len(found):
                return checked, [_forged(cut) for cut in found if cut not in good]

    async def _read(self, tenant_id: str, good_cuts: Sequence[SignedHead]) -> ChainCheck:
        """All there is, then the head, then what came in between: nothing lies behind a head read later."""
        start = _anchor(good_cuts[-1]) if good_cuts else origin(tenant_id)
        signed = (*self._vouchers.of(tenant_id), *good_cuts)
        checking = ChainCheck(tenant_id, start, [one for one in signed if one.sequence >= start.sequence])
        await self._stream(tenant_id, checking)
        last = await head(self._connection, tenant_id)
        if last and last.sequence > checking.last:
            await self._stream(tenant_id, checking, to=last.sequence)
        checking.end(last)
        return checking

    async def _stream(self, tenant_id: str, checking: ChainCheck, *, to: int = _END) -> None:
        wanted = select(*_COLUMNS).where(
            E.c.tenant_id == tenant_id, E.c.sequence > checking.last, E.c.sequence <= to
        )
        statement = wanted.order_by(E.c.sequence).execution_options(yield_per=BATCH)
        async with self._connection.stream(statement) as rows:
            async for batch in rows.partitions():
                checking.take(batch)
                self._advance(len(batch))


def _anchor(one: SignedHead) -> Anchor:
    return Anchor(one.sequence, bytes.fromhex(one.hash))


def _cut(row: RowMapping) -> SignedHead:
    return SignedHead.model_validate({**row, "hash": row["hash"].hex(), "kind": HeadKind.CUT})


def _forged(one: SignedHead) -> Finding:
    says = f"a {one.kind} at {one.sequence} is not signed by a key of this hub"
    return Finding(tenant_id=one.tenant_id, sequence=one.sequence, fault=Fault.FORGED, says=says)
