"""How entries come into an audit log: one after the other, whole, and never to be changed by the hub."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import ProgrammingError

from models.audit import AuditEntry, AuditReport, Outcome
from storage.audit_chain import MOST_DETAILS
from storage.audit_signature import HeadVerifier
from storage.postgres import audit
from storage.postgres.audit import Place, Wanted
from storage.postgres.audit_check import AuditCheck, Vouchers
from storage.postgres.database import Database
from storage.postgres.tables.audit import AUDIT_CUTS, AUDIT_ENTRIES, AUDIT_HEADS
from tests.support.audit import SIGNER, entry


async def _append(database: Database, tenant: str, *entries: AuditEntry) -> None:
    async with database.tenant(tenant) as connection:
        for one in entries:
            await audit.append(connection, tenant, one)


async def _report(database: Database, *tenants: str) -> AuditReport:
    async with database.platform() as connection:
        return await AuditCheck(connection, Vouchers(HeadVerifier(SIGNER.public_keys))).run(tenants)


async def test_a_hash_can_be_made_again_by_anybody(database: Database) -> None:
    """From the documented encoding, with nothing but Python's own json and hashlib."""
    details = {"b": [1, 2.5, None], "a": 'Grüße "\\\n\x01'}
    await _append(database, "acme", AuditEntry(actor="u", action="a", object="o", at_ns=5, details=details))
    async with database.tenant("acme") as connection:
        row = (await connection.execute(select(AUDIT_ENTRIES))).one()

    compact: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False}
    text = json.dumps(details, sort_keys=True, **compact)
    content = json.dumps(["acme", 5, "u", "a", "o", "done", text], **compact).encode()
    begun = sha256(b"central-hub audit log 1\nacme").digest()
    expected = sha256(b"central-hub audit entry 1\n" + begun + (1).to_bytes(8, "big") + content).digest()

    assert (row.sequence, row.details, row.hash) == (1, text, expected)


async def test_concurrent_appends_of_one_tenant_make_one_chain(database: Database) -> None:
    """40 at a time, of two tenants: no number is left out or given twice, and no chain is torn."""
    await asyncio.gather(
        *(_append(database, tenant, entry(number)) for number in range(40) for tenant in ("acme", "bolt"))
    )

    report = await _report(database, "acme", "bolt")

    assert (report.entries, report.faults) == (80, 0)


async def test_an_undone_change_leaves_no_entry_and_no_gap(database: Database) -> None:
    """The next entry follows the last one that was committed."""
    await _append(database, "acme", entry(1))
    with pytest.raises(TypeError):
        await _append(database, "acme", entry(2), entry(0).model_copy(update={"details": {"odd": object()}}))
    await _append(database, "acme", entry(3))

    async with database.tenant("acme") as connection:
        found = await audit.page(connection, "acme", Wanted(), after=0, most=10)

    assert [(one.sequence, one.object) for one in found] == [(1, "object-1"), (2, "object-3")]
    assert (await _report(database, "acme")).sound


@pytest.mark.parametrize("table", [AUDIT_ENTRIES, AUDIT_CUTS])
async def test_the_application_never_changes_or_deletes_entries_or_cuts(
    database: Database, table: Any
) -> None:
    """Its role may not, whatever a defect or an injected statement asks for."""
    await _append(database, "acme", entry(1))
    for statement in (update(table).values(sequence=7), delete(table)):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with database.tenant("acme") as connection:
                await connection.execute(statement)
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with database.platform() as connection:
                await connection.execute(statement)
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with database.tenant("acme") as connection:
            await connection.execute(delete(AUDIT_HEADS))


async def test_a_tenant_writes_into_no_other_log(database: Database) -> None:
    """Neither by `append` nor by a plain insert."""
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with database.tenant("acme") as connection:
            await audit.append(connection, "bolt", entry(1))
    row = {"tenant_id": "bolt", "sequence": 1, "at_ns": 1, "actor": "a", "action": "a", "object": "o"}
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with database.tenant("acme") as connection:
            await connection.execute(
                insert(AUDIT_ENTRIES), {**row, "outcome": "done", "details": "{}", "hash": bytes(32)}
            )


@pytest.mark.parametrize(
    "hostile",
    [
        AuditEntry(actor="a\x00b", action="a", object="\ud800", at_ns=1),
        AuditEntry(actor="a" * 10_000, action="a", object="'); DROP TABLE x; --", at_ns=-(2**63)),
        AuditEntry(actor="", action="", object="", at_ns=0, details={"nul": "\x00", "set": {"b", "a"}}),
        AuditEntry(actor="a", action="a", object="o", at_ns=1, details={"half": "\ud800", "huge": 2**70}),
        AuditEntry(actor="a", action="a", object="o", at_ns=1, details={"big": "x" * MOST_DETAILS}),
    ],
)
async def test_any_entry_can_be_written_and_checked(database: Database, hostile: AuditEntry) -> None:
    """What no database takes is replaced, what is too long is cut or hashed; a change never fails for it."""
    await _append(database, "acme", hostile, entry(2))
    async with database.tenant("acme") as connection:
        assert len(await audit.page(connection, "acme", Wanted(), after=0, most=10)) == 2

    assert (await _report(database, "acme")).sound


async def test_details_that_are_no_plain_values_are_a_defect(database: Database) -> None:
    """An object of a class could be anything, a secret too."""
    odd = AuditEntry(actor="a", action="a", object="o", at_ns=1, details={"what": object()})
    with pytest.raises(TypeError, match="object"):
        await _append(database, "acme", odd)


async def test_pages_go_on_where_the_last_one_ended(database: Database) -> None:
    """Of a tenant by sequence, of the platform by time over all tenants; both with what is wanted."""
    await _append(database, "acme", *(entry(number) for number in range(1, 21)))
    await _append(database, "bolt", *(entry(number) for number in range(1, 21)))
    denied = Wanted(outcome=Outcome.DENIED)
    async with database.tenant("acme") as connection:
        first = await audit.page(connection, "acme", denied, after=0, most=1)
        second = await audit.page(connection, "acme", denied, after=first[0].sequence, most=5)
        foreign = await audit.page(connection, "bolt", Wanted(), after=0, most=5)
    async with database.platform() as connection:
        seen = await audit.platform_page(connection, Wanted(), after=Place(), most=25)
        last = seen[-1]
        rest = await audit.platform_page(
            connection, Wanted(), after=Place(last.at_ns, last.tenant_id, last.sequence), most=25
        )

    assert [one.sequence for one in (*first, *second)] == [10, 20]
    assert list(foreign) == []
    assert len({(one.tenant_id, one.sequence) for one in (*seen, *rest)}) == 40
    assert sorted(one.at_ns for one in (*seen, *rest)) == [one.at_ns for one in (*seen, *rest)]
