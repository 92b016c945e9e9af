"""`hub audit verify --config`: an auditor with database, broker and vault, and no hub."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from deployments.control.config import AuditConfig
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.ports import Record
from messaging.topics import AUDIT_HEADS, create_topics
from models.audit import SignedHead
from serve_app.commands.audit import app
from storage.audit_vault import AuditVault
from storage.postgres.config import PostgresConfig
from tests.support.audit import SIGNER, fill, signed, superuser
from tests.support.postgres import PostgresServer

LOG = 500


@pytest.fixture
def audited(
    postgres_run: PostgresServer,
    postgres_config: PostgresConfig,
    tansu_bootstrap: str,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[psycopg.Connection[Any]]:
    """A log of acme whose head at 400 is on the broker, and the one at 500 in the vault."""
    kafka, vault = KafkaConfig.tansu(tansu_bootstrap), AuditVault(str(tmp_path / "vault"))
    audit = AuditConfig(vault=str(tmp_path / "vault"))
    settings = SimpleNamespace(kafka=kafka, postgres=postgres_config, control=SimpleNamespace(audit=audit))
    monkeypatch.setattr("serve_app.settings.load_settings", lambda _: settings)
    with superuser(postgres_run, postgres_config) as connection:
        early, late = signed("acme", fill(connection, "acme", LOG), 400, LOG)
        vault.put(late)
        asyncio.run(_kept(kafka, early))
        yield connection


async def _kept(kafka: KafkaConfig, head: SignedHead) -> None:
    bus = await open_bus(kafka, client_id="test")
    await create_topics(bus, 1, [AUDIT_HEADS])
    producer = await bus.producer("test")
    record = Record(head.tenant_id.encode(), head.model_dump_json(by_alias=True).encode())
    await producer.append(AUDIT_HEADS.name, 0, [record], timeout_s=10.0)
    await producer.close()
    await bus.close()


def _verify(*options: str) -> Result:
    keys = [part for key in SIGNER.public_keys for part in ("--key", key)]
    return CliRunner().invoke(app, ["verify", "--config", "any.yaml", "--tenant", "acme", *keys, *options])


def test_a_sound_log_passes_and_a_truncated_one_does_not(audited: psycopg.Connection[Any]) -> None:
    """Exit code 0, then 1 with tenant, sequence and fault: by the head in the vault."""
    sound = _verify()
    audited.execute("DELETE FROM hub.audit_entries WHERE sequence > 450")
    audited.execute(
        "UPDATE hub.audit_heads SET sequence = 450,"
        " hash = (SELECT hash FROM hub.audit_entries WHERE sequence = 450)"
    )
    truncated = _verify()

    assert (sound.exit_code, truncated.exit_code) == (0, 1), sound.output + truncated.output
    assert "sound: 500 entries of 1 tenants, 2 signed places" in sound.output
    assert "acme 451 truncated: the log ends at 450, and 500 was signed" in truncated.output


def test_a_vault_with_a_file_that_is_no_head_is_an_error(
    audited: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """And not a head less."""
    (tmp_path / "vault" / "acme" / "0.json").write_text("{}")

    assert audited.closed is False
    assert "is not a signed head" in str(_verify().exception)
