"""The end of retention: what is old goes behind a signed cut, and the rest goes on being verifiable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import delete, update

from models.audit import AuditReport, Fault, SignedHead
from models.errors import ConfigError
from models.retention import load_retention
from serve_app.audit_trail import purge_logs, purgeable, verify_logs
from serve_app.settings import read_text
from storage.audit_chain import Anchor
from storage.audit_signature import HeadVerifier
from storage.postgres.audit_check import Vouchers
from storage.postgres.config import PostgresConfig
from storage.postgres.database import engine
from storage.postgres.tables.audit import AUDIT_ENTRIES
from tests.support.audit import SIGNER, STRANGER, chained, entry, set_head, signed, superuser
from tests.support.postgres import PostgresServer

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = datetime.fromtimestamp(entry(0).at_ns // 10**9, UTC).date()
_NEXT_DAY_NS = 86_400 * 10**9
_LATER = {7, 8, 10}
"""Of ten entries these are of the day after; the ninth has an earlier time than the one before it."""


def _fill(connection: psycopg.Connection[Any], tenant: str) -> Sequence[Anchor]:
    made = [entry(number) for number in range(1, 11)]
    entries = (
        one.model_copy(update={"at_ns": one.at_ns + _NEXT_DAY_NS * (number in _LATER)})
        for number, one in enumerate(made, start=1)
    )
    with connection.cursor() as cursor, cursor.copy("COPY hub.audit_entries FROM STDIN") as copy:
        rows = list(chained(tenant, entries))
        for row in rows:
            copy.write_row(row)
    anchors = [Anchor(row[1], row[8]) for row in rows]
    set_head(connection, tenant, anchors[-1])
    return anchors


async def _report(config: PostgresConfig, heads: Sequence[SignedHead]) -> AuditReport:
    return await verify_logs(config, [], Vouchers(HeadVerifier(SIGNER.public_keys), heads))


async def test_what_is_old_goes_and_the_rest_is_verifiable(
    postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """Up to the first entry that must stay; twice does no harm; a head that was signed before is no fault."""
    with superuser(postgres_run, postgres_config) as connection:
        anchors = _fill(connection, "acme")
        heads = signed("acme", anchors, 3, 10)
        gone = [await purge_logs(postgres_config, SIGNER, before=DAY, actor="ann", now=NOW) for _ in range(2)]
        left = connection.execute("SELECT sequence, action FROM hub.audit_entries ORDER BY 1").fetchall()
        report = await _report(postgres_config, heads)

    assert gone == [{"acme": 6}, {"acme": 0}]
    assert [sequence for sequence, _ in left] == [7, 8, 9, 10, 11]
    assert left[-1][1] == "audit.cut"
    assert (report.faults, report.entries, report.unsigned) == (0, 5, 1)


async def test_a_log_is_never_purged_to_its_end(
    postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """The last entry stays, so that what follows has something to follow."""
    with superuser(postgres_run, postgres_config) as connection:
        _fill(connection, "acme")
    gone = await purge_logs(postgres_config, SIGNER, before=date(2029, 1, 1), actor="ann", now=NOW)

    assert gone == {"acme": 9}
    assert (await _report(postgres_config, [])).sound


async def test_more_than_the_cut_is_missing_after_a_purge(
    postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """A cut excuses what lies before it and nothing else."""
    with superuser(postgres_run, postgres_config) as connection:
        _fill(connection, "acme")
        await purge_logs(postgres_config, SIGNER, before=DAY, actor="ann", now=NOW)
        connection.execute("DELETE FROM hub.audit_entries WHERE sequence = 7")

    report = await _report(postgres_config, [])

    assert [(one.fault, one.sequence) for one in report.findings] == [(Fault.MISSING, 7)]


async def test_a_log_that_is_not_sound_is_not_purged(
    postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """Retention must not tidy away what somebody tampered with."""
    with superuser(postgres_run, postgres_config) as connection:
        _fill(connection, "acme")
        connection.execute("UPDATE hub.audit_entries SET actor = 'x' WHERE sequence = 2")
        with pytest.raises(ConfigError, match="not sound"):
            await purge_logs(postgres_config, SIGNER, before=DAY, actor="ann", now=NOW)
        left = connection.execute("SELECT count(*) FROM hub.audit_entries").fetchone()

    assert left == (10,)


async def test_a_cut_that_a_stranger_signed_lets_nothing_go(
    postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """Whoever can write the row of a cut cannot have entries deleted by it."""
    with superuser(postgres_run, postgres_config) as connection:
        anchors = _fill(connection, "acme")
        forged = STRANGER.sign("acme", anchors[8], now_ns=1)
        row = (anchors[8].hash, forged.kid, forged.signature)
        connection.execute("INSERT INTO hub.audit_cuts VALUES ('acme', 9, %s, 1, %s, %s)", row)
        gone = await purge_logs(postgres_config, SIGNER, before=date(2000, 1, 1), actor="ann", now=NOW)

    assert gone == {"acme": 0}


async def test_even_the_owner_deletes_nothing_behind_the_last_cut(
    postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """Row-level security holds for the owner, too: a statement without a condition deletes nothing."""
    with superuser(postgres_run, postgres_config) as connection:
        _fill(connection, "acme")
    assert postgres_config.owner
    owner = engine(postgres_config, postgres_config.owner)
    async with owner.begin() as as_owner:
        gone = (await as_owner.execute(delete(AUDIT_ENTRIES))).rowcount
        changed = (await as_owner.execute(update(AUDIT_ENTRIES).values(actor="x"))).rowcount
    await owner.dispose()

    assert (gone, changed) == (0, 0)


def test_the_shipped_rule_says_what_may_go_and_a_hold_stops_all() -> None:
    """Five calendar years; while an authority asks for longer, nothing."""
    rule = load_retention(read_text("config/retention.yaml")).rule_for("hub.audit_heads")

    assert purgeable(rule, date(2031, 11, 22), []) == date(2026, 11, 22)
    assert purgeable(rule, date(2028, 2, 29), []) == date(2023, 2, 28)
    with pytest.raises(ConfigError, match="hold"):
        purgeable(rule, date(2031, 11, 22), [date(2032, 1, 1)])
    with pytest.raises(ConfigError, match="no rule"):
        purgeable(None, date(2031, 11, 22), [])
