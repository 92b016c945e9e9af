"""Tampering with audit logs (S15): every way of it is found, and named with tenant and sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
import pytest

from models.audit import AuditReport, Fault, SignedHead
from storage.audit_chain import Anchor, link, origin, written
from storage.audit_signature import HeadVerifier
from storage.postgres.audit_check import AuditCheck, Vouchers, tenants
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from tests.support.audit import SIGNER, STRANGER, chained, entry, fill, set_head, signed, superuser
from tests.support.postgres import PostgresServer

SIZE: Final = 3_000
SIGNED_AT: Final = (1_000, 2_000, SIZE)
Hand = Callable[[psycopg.Connection[Any], Sequence[Anchor]], None]


async def _checked(database: Database, heads: Sequence[SignedHead]) -> AuditReport:
    vouchers = Vouchers(HeadVerifier(SIGNER.public_keys), heads)
    async with database.platform() as connection:
        every = sorted(vouchers.tenants.union(await tenants(connection)))
        return await AuditCheck(connection, vouchers).run(every)


def _edit(column: str, value: object) -> Hand:
    def hand(connection: psycopg.Connection[Any], _: Sequence[Anchor]) -> None:
        statement = psycopg.sql.SQL("UPDATE hub.audit_entries SET {} = %s WHERE tenant_id = 'acme'").format(
            psycopg.sql.Identifier(column)
        )
        connection.execute(statement + psycopg.sql.SQL(" AND sequence = 1234"), (value,))

    return hand


def _edit_and_hash_again(connection: psycopg.Connection[Any], anchors: Sequence[Anchor]) -> None:
    made = written("acme", entry(9_999))
    connection.execute(
        "UPDATE hub.audit_entries SET at_ns = %s, actor = %s, action = %s, object = %s, details = %s,"
        " outcome = 'done', hash = %s WHERE tenant_id = 'acme' AND sequence = 1234",
        (entry(9_999).at_ns, *made[:4], link(anchors[1_232].hash, 1_234, made.content)),
    )


def _delete(connection: psycopg.Connection[Any], _: Sequence[Anchor]) -> None:
    connection.execute("DELETE FROM hub.audit_entries WHERE tenant_id = 'acme' AND sequence = 1234")


def _delete_and_close_up(connection: psycopg.Connection[Any], anchors: Sequence[Anchor]) -> None:
    _delete(connection, anchors)
    for sign in (-1, 1):  # twice, so that no number is ever there two times
        connection.execute(
            "UPDATE hub.audit_entries SET sequence = CASE WHEN %s < 0 THEN -sequence ELSE 0 END WHERE false",
            (sign,),
        )
    connection.execute("ALTER TABLE hub.audit_entries DROP CONSTRAINT audit_entries_pkey")
    connection.execute(
        "UPDATE hub.audit_entries SET sequence = sequence - 1 WHERE tenant_id = 'acme' AND sequence > 1234"
    )


def _delete_the_first(connection: psycopg.Connection[Any], _: Sequence[Anchor]) -> None:
    connection.execute("DELETE FROM hub.audit_entries WHERE tenant_id = 'acme' AND sequence <= 10")


def _swap(connection: psycopg.Connection[Any], _: Sequence[Anchor]) -> None:
    for old, new in ((1_234, 10**9), (2_345, 1_234), (10**9, 2_345)):
        connection.execute(
            "UPDATE hub.audit_entries SET sequence = %s WHERE tenant_id = 'acme' AND sequence = %s",
            (new, old),
        )


def _insert_behind(connection: psycopg.Connection[Any], anchors: Sequence[Anchor]) -> None:
    _insert(connection, "acme", SIZE + 1, anchors[-1].hash)


def _fork(connection: psycopg.Connection[Any], anchors: Sequence[Anchor]) -> None:
    """A second entry 1,234, which follows 1,233 as well as the first one does."""
    connection.execute("ALTER TABLE hub.audit_entries DROP CONSTRAINT audit_entries_pkey")
    _insert(connection, "acme", 1_234, anchors[1_232].hash)


def _insert_out_of_thin_air(connection: psycopg.Connection[Any], _: Sequence[Anchor]) -> None:
    _insert(connection, "acme", SIZE + 1, b"\x00" * 32)
    set_head(connection, "acme", Anchor(SIZE + 1, b"\x00" * 32))


def _insert(connection: psycopg.Connection[Any], tenant: str, sequence: int, previous: bytes) -> None:
    made = written(tenant, entry(7))
    connection.execute(
        "INSERT INTO hub.audit_entries VALUES (%s, %s, %s, %s, %s, %s, 'done', %s, %s)",
        (tenant, sequence, entry(7).at_ns, *made[:4], link(previous, sequence, made.content)),
    )


def _replay(connection: psycopg.Connection[Any], _: Sequence[Anchor]) -> None:
    """Bolt's entry in the place of acme's."""
    connection.execute("DELETE FROM hub.audit_entries WHERE tenant_id = 'acme' AND sequence = 1234")
    connection.execute(
        "INSERT INTO hub.audit_entries SELECT 'acme', sequence, at_ns, actor, action, object,"
        " outcome, details, hash FROM hub.audit_entries WHERE tenant_id = 'bolt' AND sequence = 1234"
    )


def _replay_all(connection: psycopg.Connection[Any], _: Sequence[Anchor]) -> None:
    """Bolt's whole log as acme's, head and all."""
    connection.execute("DELETE FROM hub.audit_entries WHERE tenant_id = 'acme'")
    connection.execute(
        "INSERT INTO hub.audit_entries SELECT 'acme', sequence, at_ns, actor, action, object,"
        " outcome, details, hash FROM hub.audit_entries WHERE tenant_id = 'bolt'"
    )
    connection.execute(
        "UPDATE hub.audit_heads SET hash = (SELECT hash FROM hub.audit_heads WHERE tenant_id = 'bolt')"
        " WHERE tenant_id = 'acme'"
    )


def _truncate(connection: psycopg.Connection[Any], anchors: Sequence[Anchor]) -> None:
    """The end cut off, and the head set back: the chain alone is perfect."""
    connection.execute("DELETE FROM hub.audit_entries WHERE tenant_id = 'acme' AND sequence > 2500")
    set_head(connection, "acme", anchors[2_499])


def _remove(connection: psycopg.Connection[Any], _: Sequence[Anchor]) -> None:
    """The whole log of a tenant, as if there had never been one."""
    for table in ("audit_entries", "audit_heads"):
        connection.execute(f"DELETE FROM hub.{table} WHERE tenant_id = 'acme'")  # noqa: S608 - of this line


def _rewrite(connection: psycopg.Connection[Any], anchors: Sequence[Anchor]) -> None:
    """Everything from 1,234 on written anew, every hash right: the chain alone is perfect."""
    connection.execute("DELETE FROM hub.audit_entries WHERE tenant_id = 'acme' AND sequence >= 1234")
    entries = (entry(number, seed="x") for number in range(1_234, SIZE + 1))
    last = anchors[-1]
    with connection.cursor() as cursor, cursor.copy("COPY hub.audit_entries FROM STDIN") as copy:
        for row in chained("acme", entries, after=anchors[1_232]):
            copy.write_row(row)
            last = Anchor(row[1], row[8])
    set_head(connection, "acme", last)


def _head_back(connection: psycopg.Connection[Any], anchors: Sequence[Anchor]) -> None:
    """The next entry would be a second 2,500th: a fork about to happen."""
    set_head(connection, "acme", anchors[2_499])


TAMPERING: Final[dict[str, tuple[Hand, Fault, int]]] = {
    "edit the actor": (_edit("actor", "somebody-else"), Fault.ALTERED, 1_234),
    "edit the action": (_edit("action", "nothing"), Fault.ALTERED, 1_234),
    "edit the object": (_edit("object", "another"), Fault.ALTERED, 1_234),
    "edit the outcome": (_edit("outcome", "denied"), Fault.ALTERED, 1_234),
    "edit the time": (_edit("at_ns", 1), Fault.ALTERED, 1_234),
    "edit the details": (_edit("details", "{}"), Fault.ALTERED, 1_234),
    "edit the hash": (_edit("hash", b"\x07" * 32), Fault.ALTERED, 1_234),
    "edit, with a hash that fits": (_edit_and_hash_again, Fault.ALTERED, 1_235),
    "delete": (_delete, Fault.MISSING, 1_234),
    "delete and close up": (_delete_and_close_up, Fault.ALTERED, 1_234),
    "delete the first": (_delete_the_first, Fault.MISSING, 1),
    "reorder": (_swap, Fault.ALTERED, 1_234),
    "insert behind the end": (_insert_behind, Fault.HEAD, SIZE + 1),
    "fork": (_fork, Fault.FORKED, 1_234),
    "insert what follows nothing": (_insert_out_of_thin_air, Fault.ALTERED, SIZE + 1),
    "replay an entry of another tenant": (_replay, Fault.ALTERED, 1_234),
    "replay a log of another tenant": (_replay_all, Fault.ALTERED, 1),
    "truncate": (_truncate, Fault.TRUNCATED, 2_501),
    "remove all": (_remove, Fault.TRUNCATED, 1),
    "rewrite": (_rewrite, Fault.REWRITTEN, 2_000),
    "set the head back": (_head_back, Fault.HEAD, SIZE),
}


@pytest.mark.parametrize("way", TAMPERING)
async def test_tampering_is_found_and_named(
    way: str, database: Database, postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """By whoever owns the machine and stops at nothing but the keys: each is found where it happened."""
    hand, fault, sequence = TAMPERING[way]
    with superuser(postgres_run, postgres_config) as connection:
        anchors = fill(connection, "acme", SIZE)
        fill(connection, "bolt", SIZE, seed="b")
        heads = signed("acme", anchors, *SIGNED_AT)
        before = await _checked(database, heads)
        hand(connection, anchors)

    after = await _checked(database, heads)

    assert before.sound
    assert (before.tenants, before.entries, before.signed, before.unsigned) == (2, 2 * SIZE, 3, SIZE)
    assert not after.sound
    assert {found.tenant_id for found in after.findings} == {"acme"}
    assert (fault, sequence) in [(found.fault, found.sequence) for found in after.findings]


@pytest.mark.parametrize("way", ["truncate", "rewrite"])
async def test_a_perfect_chain_is_caught_by_nothing_but_signed_heads(
    way: str, database: Database, postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """Without them the same logs pass: this is what they are for."""
    with superuser(postgres_run, postgres_config) as connection:
        TAMPERING[way][0](connection, fill(connection, "acme", SIZE))

    assert (await _checked(database, [])).sound


async def test_two_histories_that_were_signed_are_a_fork(
    database: Database, postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """The log as it is now agrees with one of them only."""
    other = [Anchor(row[1], row[8]) for row in chained("acme", (entry(n, seed="x") for n in range(1, 11)))]
    with superuser(postgres_run, postgres_config) as connection:
        anchors = fill(connection, "acme", 10)

    found = await _checked(database, [*signed("acme", anchors, 8), *signed("acme", other, 8)])

    assert [(one.fault, one.tenant_id, one.sequence) for one in found.findings] == [(Fault.FORKED, "acme", 8)]


async def test_heads_and_cuts_that_the_hub_did_not_sign_are_named_and_not_believed(
    database: Database, postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """Neither a stranger's head nor a cut in the table itself hides that entries are missing."""
    with superuser(postgres_run, postgres_config) as connection:
        anchors = fill(connection, "acme", 100)
        connection.execute("DELETE FROM hub.audit_entries WHERE tenant_id = 'acme' AND sequence <= 40")
        forged = STRANGER.sign("acme", anchors[39], now_ns=1)
        connection.execute(
            "INSERT INTO hub.audit_cuts VALUES ('acme', 40, %s, 1, %s, %s)",
            (anchors[39].hash, forged.kid, forged.signature),
        )

    found = await _checked(database, signed("acme", anchors, 50, by=STRANGER))

    assert {(one.fault, one.sequence) for one in found.findings} == {
        (Fault.FORGED, 50),
        (Fault.FORGED, 40),
        (Fault.MISSING, 1),
    }


async def test_a_signature_holds_for_its_tenant_and_place_alone(database: Database) -> None:
    """A good signature under another tenant, sequence, hash, time or kind is none."""
    verifier = HeadVerifier(SIGNER.public_keys)
    head = SIGNER.sign("acme", Anchor(7, origin("acme").hash), now_ns=5)
    others = ({"tenant_id": "bolt"}, {"sequence": 8}, {"hash": "00" * 32}, {"at_ns": 6}, {"kind": "cut"})

    assert verifier.is_good(head)
    assert not any(verifier.is_good(head.model_copy(update=other)) for other in others)
