"""The end of retention: a log is cut at a signed place, and then what is before it may go.

First the cut is on record, in the log itself as well; then entries are deleted, by the owner of the tables,
whose right ends at the last cut. Whoever is interrupted runs it again.
"""

from __future__ import annotations

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from models.audit import AuditEntry, HeadKind, SignedHead
from storage.audit_chain import Anchor
from storage.audit_signature import HeadSigner, HeadVerifier
from storage.postgres import audit
from storage.postgres.audit_check import cuts
from storage.postgres.tables.audit import AUDIT_CUTS as C
from storage.postgres.tables.audit import AUDIT_ENTRIES as E

ACTION = "audit.cut"


async def removable(connection: AsyncConnection, tenant_id: str, *, before_ns: int) -> Anchor | None:
    """The last entry up to which all are older than that, if there is one; never the last of the log."""
    own = E.c.tenant_id == tenant_id
    kept = select(func.min(E.c.sequence)).where(own, E.c.at_ns >= before_ns).scalar_subquery()
    last = select(func.max(E.c.sequence)).where(own).scalar_subquery()
    found = await connection.execute(
        select(E.c.sequence, E.c.hash).where(own, E.c.sequence == func.least(kept, last) - 1)
    )
    row = found.first()
    return Anchor(*row) if row else None


async def cut(
    connection: AsyncConnection, tenant_id: str, at: Anchor, signer: HeadSigner, *, actor: str, now_ns: int
) -> SignedHead:
    """Put on record that the log may end there towards its beginning, in the tenant's transaction."""
    signed = signer.sign(tenant_id, at, now_ns=now_ns, kind=HeadKind.CUT)
    row = {"tenant_id": tenant_id, "sequence": at.sequence, "hash": at.hash, "at_ns": now_ns}
    await connection.execute(insert(C), {**row, "kid": signed.kid, "signature": signed.signature})
    details = {"sequence": at.sequence, "hash": signed.hash}
    entry = AuditEntry(actor=actor, action=ACTION, object=tenant_id, at_ns=now_ns, details=details)
    await audit.append(connection, tenant_id, entry)
    return signed


async def purge(owner: AsyncConnection, tenant_id: str, verifier: HeadVerifier) -> int:
    """Delete, as the owner of the tables, what is before the last cut that the hub signed; how many went."""
    good = [one for one in await cuts(owner, tenant_id) if verifier.is_good(one)]
    if not good:
        return 0
    gone = delete(E).where(E.c.tenant_id == tenant_id, E.c.sequence <= good[-1].sequence)
    return (await owner.execute(gone)).rowcount
