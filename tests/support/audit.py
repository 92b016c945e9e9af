"""Audit logs for tests: long ones made in no time, and a hand that may do what no role of the hub may."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from models.audit import AuditEntry, Outcome, SignedHead
from storage.audit_chain import Anchor, link, origin, written
from storage.audit_signature import HeadSigner
from storage.postgres.config import SCHEMA, PostgresConfig
from tests.support.postgres import PostgresServer

SIGNER = HeadSigner.of("11" * 32)
STRANGER = HeadSigner.of("22" * 32)
_ACTIONS = ("users.create", "users.update", "config.set", "keys.create", "tenants.change")
_COPY = "COPY {}.audit_entries (tenant_id, sequence, at_ns, actor, action, object, outcome, details, hash)"


def entry(number: int, *, seed: str = "") -> AuditEntry:
    """The `number`-th of a made-up life."""
    return AuditEntry(
        actor=f"user-{number % 97}{seed}",
        action=_ACTIONS[number % len(_ACTIONS)],
        object=f"object-{number}",
        outcome=Outcome.DENIED if number % 10 == 0 else Outcome.DONE,
        at_ns=1_700_000_000_000_000_000 + number * 1_000_000,
        details={"version": number, "name": "Grüße", "roles": ["trader", "viewer"]},
    )


def chained(
    tenant_id: str, entries: Iterator[AuditEntry], *, after: Anchor | None = None
) -> Iterator[tuple[Any, ...]]:
    """Rows as they belong in the table."""
    last = after or origin(tenant_id)
    for one in entries:
        made = written(tenant_id, one)
        last = Anchor(last.sequence + 1, link(last.hash, last.sequence + 1, made.content))
        yield (tenant_id, last.sequence, one.at_ns, *made[:3], one.outcome.value, made.details, last.hash)


def fill(connection: psycopg.Connection, tenant_id: str, count: int, *, seed: str = "") -> list[Anchor]:
    """A log of `count` entries, by COPY; its anchors, the first at index 0."""
    found = []
    statement = sql.SQL(_COPY + " FROM STDIN").format(sql.Identifier(SCHEMA))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in chained(tenant_id, (entry(number, seed=seed) for number in range(1, count + 1))):
            copy.write_row(row)
            found.append(Anchor(row[1], row[8]))
    set_head(connection, tenant_id, found[-1])
    return found


def set_head(connection: psycopg.Connection, tenant_id: str, head: Anchor) -> None:
    """Say that this is the last entry."""
    connection.execute(
        "INSERT INTO hub.audit_heads VALUES (%s, %s, %s) ON CONFLICT (tenant_id) DO UPDATE"
        " SET sequence = EXCLUDED.sequence, hash = EXCLUDED.hash",
        (tenant_id, *head),
    )


def signed(tenant_id: str, anchors: Sequence[Anchor], *at: int, by: HeadSigner = SIGNER) -> list[SignedHead]:
    """Signed heads at these sequences."""
    return [by.sign(tenant_id, anchors[sequence - 1], now_ns=sequence) for sequence in at]


@contextmanager
def superuser(server: PostgresServer, config: PostgresConfig) -> Iterator[psycopg.Connection]:
    """Whoever owns the machine: no boundary holds, each statement is committed."""
    with psycopg.connect(server.dsn(config.database), autocommit=True) as connection:
        yield connection
