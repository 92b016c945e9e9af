"""Scorecard S14: secrets of tenants at rest and in flight."""

from __future__ import annotations

import base64
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from messaging.ports import EventBus
from messaging.topics import TENANTS
from models.tenant_config import Layer, LayerKey
from storage.postgres import tenant_config
from storage.postgres.tenant_secrets import Place, TenantSecrets
from storage.sealing import CannotOpen, Sealer
from tests.support.configs import Acme, acme
from tests.support.control import ControlHub
from tests.support.postgres import PostgresServer

CANARY = "canary-7f3a91c2-e5d8"
VISIBLE = "seen-88b1d0-a77f"


async def test_a_secret_is_read_by_who_may_and_that_is_written_down(control: ControlHub) -> None:
    """Everybody sees that it is set; the owner reads it, and the audit says so, without it."""
    a = await acme(control)
    await a.set({"mt5.password": CANARY})
    page = await a.get()
    read = await a.get("/secrets/mt5.password", headers=a.owner)
    audit = await control.client.get("/tenants/acme/audit", headers=a.owner)

    assert page.json()["config"]["mt5"]["password"] == {"secret": True, "set": True}
    assert page.json()["config"]["webhooks"]["signing_secret"] == {"secret": True, "set": False}
    assert CANARY not in page.text
    assert (read.json()["value"], read.headers["cache-control"]) == (CANARY, "no-store")
    assert "config.read_secret" in audit.text
    assert CANARY not in audit.text


async def test_who_may_not_read_a_secret_does_not(control: ControlHub) -> None:
    """An administrator and a trader lack the permission; a name that is none or not set is refused."""
    a, rival = await acme(control), await acme(control, "rival")
    await a.set({"mt5.password": CANARY})

    assert (await a.get("/secrets/mt5.password")).status_code == 403
    assert (await a.get("/secrets/mt5.password", headers=a.trader)).status_code == 403
    assert (await a.get("/secrets/mt5.password", headers=rival.owner)).status_code == 404
    assert (await a.get("/secrets/webhooks.signing_secret", headers=a.owner)).status_code == 404
    assert (await a.get("/secrets/risk.scale", headers=a.owner)).status_code == 422
    assert (await a.get("/secrets/nothing", headers=a.owner)).status_code == 422


async def test_the_value_of_a_refused_secret_is_not_repeated(control: ControlHub) -> None:
    """Too long, or where no secret belongs: the answer names the setting alone."""
    a = await acme(control)
    await control.assembled.founding.run()
    too_long = await a.set({"mt5.password": CANARY * 20})
    platform = await control.client.put(
        "/platform/config/global",
        json={"config": {"mt5.password": CANARY}},
        headers=control.auth(),
        params={"version": 0},
    )
    user = await a.set_own({"webhooks.signing_secret": CANARY})

    for answer in (too_long, platform, user):
        assert answer.status_code == 422
        assert answer.json()["field"] in {"mt5.password", "webhooks.signing_secret"}
        assert CANARY not in answer.text


async def test_a_secret_that_was_read_as_set_can_be_written_back(control: ControlHub) -> None:
    """A whole document is put as it was read: the secret stays; and a roll-back brings the old one back."""
    a = await acme(control)
    await a.set({"mt5.password": "first-secret", "risk.scale": 0.5})
    document = (await a.get()).json()["document"] | {"risk": {"scale": 0.6}}
    put = await control.client.put(a.path, json={"config": document}, headers=a.admin, params={"version": 1})
    kept = (await a.get("/secrets/mt5.password", headers=a.owner)).json()["value"]
    await a.set({"mt5.password": "second-secret"})
    diff = (await a.get("/versions/2/diff/3")).json()["differences"]
    await control.client.post(f"{a.path}/rollback", json={"to": 1}, headers=a.admin)
    back = (await a.get("/secrets/mt5.password", headers=a.owner)).json()["value"]

    assert (put.status_code, kept, back) == (200, "first-secret", "first-secret")
    mark = {"secret": True, "set": True}
    assert diff == [{"name": "mt5.password", "before": mark, "after": mark}]


@pytest.mark.parametrize("moved", ["between tenants", "with its key", "whole row", "between names", "users"])
async def test_a_ciphertext_that_was_moved_does_not_open(
    control: ControlHub, postgres_run: PostgresServer, moved: str
) -> None:
    """Whoever can write the database cannot make one tenant, name or user read another's secret."""
    a, rival = await acme(control), await acme(control, "rival")
    await a.set({"mt5.password": "a secret of acme", "webhooks.signing_secret": "another of acme's"})
    await a.set_own({"mt5.password": "the trader's own"})
    await rival.set({"mt5.password": CANARY})
    before = await _read(a)
    with psycopg.connect(postgres_run.dsn(control.config.postgres.database)) as connection:
        for statement in _MOVES[moved]:
            connection.execute(statement)
    after = await a.get("/secrets/mt5.password", headers=a.owner)

    assert before == "a secret of acme"
    assert after.status_code in {404, 500}
    assert after.json()["code"] in {"not_found", "cannot_open"}
    assert CANARY not in after.text


_MINE = "tenant_id = 'acme' AND layer = 'tenant' AND name = 'mt5.password'"
_TAKE = "UPDATE hub.tenant_secrets SET sealed = (SELECT sealed FROM hub.tenant_secrets WHERE {}) WHERE {}"
_TAKE_KEY = """
UPDATE hub.tenant_data_keys SET wrapped = (SELECT wrapped FROM hub.tenant_data_keys WHERE tenant_id = 'rival')
WHERE tenant_id = 'acme'
"""
_TAKE_DOCUMENT = """
UPDATE hub.config_versions SET document = (
  SELECT document FROM hub.config_versions WHERE tenant_id = 'rival')
WHERE tenant_id = 'acme' AND layer = 'tenant'
"""
_MOVES = {
    "between tenants": [_TAKE.format("tenant_id = 'rival'", _MINE)],
    "with its key": [_TAKE.format("tenant_id = 'rival'", _MINE), _TAKE_KEY],
    "whole row": [
        _TAKE_DOCUMENT,
        "UPDATE hub.tenant_secrets SET tenant_id = 'acme' WHERE tenant_id = 'rival'",
    ],
    "between names": [_TAKE.format("tenant_id = 'acme' AND name = 'webhooks.signing_secret'", _MINE)],
    "users": [_TAKE.format("tenant_id = 'acme' AND layer = 'user'", _MINE)],
}


async def test_a_tenants_key_rotates_and_nothing_is_lost(control: ControlHub) -> None:
    """Before all is sealed anew the old key still opens; afterwards it is gone, and no secret with it."""
    a = await acme(control)
    await a.set({"mt5.password": CANARY})
    secrets = TenantSecrets(_sealer(control))
    async with control.services.database.tenant("acme") as connection:
        await secrets.rotate(connection, "acme", now_ns=1)
    between = await _read(a)
    await a.set({"webhooks.signing_secret": "sealed with the second"})
    rotated = await control.client.post(f"{a.path}/rotate-key", headers=a.owner)
    async with control.services.database.tenant("acme") as connection:
        keys = await connection.exec_driver_sql("SELECT version FROM tenant_data_keys")
        versions = [row[0] for row in keys]

    assert (between, await _read(a)) == (CANARY, CANARY)
    assert (rotated.json(), versions) == ({"secrets": 2}, [3])


async def test_the_hubs_own_key_rotates(control: ControlHub) -> None:
    """Sealed anew, the tenant's key opens with the newer key of the hub alone; before, it does not."""
    a = await acme(control)
    await a.set({"mt5.password": CANARY})
    old = bytes.fromhex(control.config.sealing_key.resolve())
    new = bytes(range(32))
    key = LayerKey(Layer.TENANT)
    async with control.services.database.tenant("acme") as connection:
        document = (await tenant_config.newest(connection, "acme", key)).document
        place, secret_id = Place("acme", key, "mt5.password"), document["mt5.password"]["sealed"]
        with pytest.raises(CannotOpen):
            await TenantSecrets(Sealer([new])).open(connection, place, secret_id)
        await TenantSecrets(Sealer([new, old])).reseal(connection, "acme", most=10)
        opened = await TenantSecrets(Sealer([new])).open(connection, place, secret_id)

    assert opened == CANARY


async def test_with_its_keys_a_tenants_secrets_are_destroyed(
    control: ControlHub, postgres_run: PostgresServer
) -> None:
    """After the tenant is deleted nothing of it is left, and no key that its secrets, brought back from a
    backup, could be opened with.
    """
    a = await acme(control)
    await a.set({"mt5.password": CANARY})
    with psycopg.connect(postgres_run.dsn(control.config.postgres.database)) as connection:
        connection.execute("CREATE TABLE backup AS SELECT * FROM hub.tenant_secrets")
        connection.commit()
        gone = await control.client.delete("/tenants/acme?confirm=acme", headers=a.owner)
        keys = connection.execute("SELECT count(*) FROM hub.tenant_data_keys").fetchone()
        left = connection.execute("SELECT count(*) FROM hub.tenant_secrets").fetchone()
        config = connection.execute("SELECT count(*) FROM hub.config_versions").fetchone()

        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("INSERT INTO hub.tenant_secrets SELECT * FROM backup")

    assert gone.is_success, gone.text
    assert (keys, left, config) == ((0,), (0,), (0,))


async def test_a_canary_is_found_nowhere_but_where_it_is_asked_for(
    control: ControlHub,
    postgres_run: PostgresServer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not in a dump of the database, its files and its log, not in Kafka, logs, metrics or other answers.
    What is no secret is found there by the same search.
    """
    caplog.set_level(logging.DEBUG)
    a = await acme(control)
    await a.set({"mt5.password": CANARY, "branding.display_name": VISIBLE})
    await a.set_own({"mt5.password": CANARY})
    await a.set({"mt5.password": {CANARY: CANARY}})
    assert await _read(a) == CANARY
    answers = [
        (await a.get(path, headers=a.owner)).text
        for path in ("", "/versions", "/versions/1", "/versions/0/diff/1")
    ]
    found = {
        "dump": _dump(postgres_run, control.config.postgres.database),
        "files": b"\n".join(_files(postgres_run, control.config.postgres.database)),
        "Kafka": await _kafka(control.bus),
        "logs": caplog.text.encode() + "".join(capfd.readouterr()).encode(),
        "metrics": repr(control.services.meter.__dict__).encode(),
        "audit": (await control.client.get("/tenants/acme/audit", headers=a.owner)).content,
        "export": (await control.client.get("/tenants/acme/export", headers=a.owner)).content,
        "answers": "".join(answers).encode(),
        "memory shown": repr(control).encode() + repr(control.services).encode(),
    }

    for where, content in found.items():
        for form in _forms(CANARY):
            assert form not in content, where
    for where in ("dump", "files", "Kafka", "answers", "audit", "export"):
        assert VISIBLE.encode() in found[where], where


def _forms(canary: str) -> Iterator[bytes]:
    """As it is, and as PostgreSQL, JSON and shells write bytes."""
    raw = canary.encode()
    yield raw
    yield raw.hex().encode()
    yield base64.b64encode(raw)[:-4]


def _dump(server: PostgresServer, database: str) -> bytes:
    program = server.process.home.programs / "pg_dump"
    done = subprocess.run([str(program), "--dbname", server.dsn(database)], capture_output=True, check=True)
    return done.stdout


def _files(server: PostgresServer, database: str) -> Iterator[bytes]:
    """The database's own files, the write-ahead log, and what the server wrote in its log."""
    with psycopg.connect(server.dsn(database), autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        (oid,) = connection.execute(
            "SELECT oid FROM pg_database WHERE datname = %s", [database]
        ).fetchone() or (0,)
    home = server.process.home
    for folder in (home.data / "base" / str(oid), home.data / "pg_wal"):
        yield from (path.read_bytes() for path in folder.iterdir() if path.is_file())
    yield Path(home.log).read_bytes()


async def _kafka(bus: EventBus) -> bytes:
    first, end = await bus.bounds(TENANTS.name, 0)
    tail = await bus.tail(TENANTS.name, {0: first})
    found: list[bytes] = []
    while tail.position(0) < end:
        found += [record.key + (record.value or b"") for record in await tail.batch(max_wait_s=0.1)]
    await tail.close()
    return b"\n".join(found)


async def _read(a: Acme) -> Any:
    return (await a.get("/secrets/mt5.password", headers=a.owner)).json()["value"]


def _sealer(control: ControlHub) -> Sealer:
    return Sealer.of(control.config.sealing_key.resolve())
