"""The audit by HTTP, and the heads that the control plane signs."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.control.audit.heads import HeadKeeper, kept_heads
from messaging.topics import AUDIT_HEADS
from models.audit import AuditEntry, Fault, SignedHead
from storage.audit_signature import HeadSigner, HeadVerifier
from storage.audit_vault import AuditVault
from storage.postgres import audit
from storage.postgres.config import PostgresConfig
from tests.support.audit import SIGNER, STRANGER, superuser
from tests.support.control import ControlHub
from tests.support.postgres import PostgresServer


def _admin(control: ControlHub) -> dict[str, str]:
    """Ann, who administers acme."""
    return control.auth("ann", tenant="acme", roles=("tenant:admin",))


async def _changed(control: ControlHub, tenant: str = "acme", times: int = 3, now_ns: int = 0) -> None:
    async with control.services.database.tenant(tenant) as connection:
        for number in range(times):
            made = AuditEntry(
                actor=f"u{number}", action="users.update", object=f"user-{number}", at_ns=now_ns + number
            )
            await audit.append(connection, tenant, made)


def _keeper(control: ControlHub, signer: HeadSigner = SIGNER, vault: AuditVault | None = None) -> HeadKeeper:
    services = control.services
    return HeadKeeper(
        services.database,
        control.bus,
        signer,
        vault=vault,
        meter=services.meter,
        clock=services.clock,
        rng=services.rng,
        every_s=3600.0,
    )


async def test_a_tenants_admin_reads_its_own_audit_by_pages(control: ControlHub) -> None:
    """Oldest first; `next` leads to the rest and ends."""
    await _changed(control)
    headers = _admin(control)
    first = (await control.client.get("/tenants/acme/audit?most=2", headers=headers)).json()
    rest = (
        await control.client.get(f"/tenants/acme/audit?most=2&after={first['next']}", headers=headers)
    ).json()

    assert [one["sequence"] for one in first["entries"]] == [1, 2]
    assert [(one["actor"], one["object"]) for one in rest["entries"]] == [("u2", "user-2")]
    assert rest["next"] is None


async def test_a_denied_access_is_in_the_callers_own_log(control: ControlHub) -> None:
    """A viewer who asks for the audit, and an admin who asks for a foreign one, leave a trace at home."""
    viewer = control.auth("vic", tenant="acme", roles=("tenant:viewer",))
    for path in ("/tenants/acme/audit", "/tenants/bolt/audit", "/platform/audit"):
        assert (await control.client.get(path, headers=viewer)).status_code in {403, 404}

    told = await control.client.get("/tenants/acme/audit?outcome=denied", headers=_admin(control))

    assert [(one["actor"], one["action"], one["object"]) for one in told.json()["entries"]] == [
        ("vic", "access.audit:read", "acme"),
        ("vic", "access.audit:read", "bolt"),
        ("vic", "access.audit:platform", "acme"),
    ]


async def test_a_log_is_verified_against_what_was_signed(
    control: ControlHub, postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """Sound at first; when its end is cut off without a trace, the signed head tells."""
    await _changed(control)
    headers = control.auth()
    signed = (await control.client.post("/platform/audit/heads", headers=headers)).json()
    sound = (await control.client.get("/tenants/acme/audit/verify", headers=headers)).json()
    with superuser(postgres_run, postgres_config) as connection:
        connection.execute("DELETE FROM hub.audit_entries WHERE sequence = 3")
        connection.execute(
            "UPDATE hub.audit_heads h SET sequence = 2, hash = e.hash FROM hub.audit_entries e"
            " WHERE e.tenant_id = h.tenant_id AND e.sequence = 2"
        )
    cut = (await control.client.get("/tenants/acme/audit/verify", headers=headers)).json()
    every = (await control.client.get("/platform/audit/verify", headers=headers)).json()

    assert [(one["tenant_id"], one["sequence"]) for one in signed["heads"]] == [("acme", 3)]
    assert (sound["entries"], sound["signed"], sound["unsigned"], sound["faults"]) == (3, 1, 0, 0)
    assert [(one["fault"], one["sequence"]) for one in cut["findings"]] == [(Fault.TRUNCATED, 3)]
    assert [(one["fault"], one["tenant_id"]) for one in every["findings"]] == [(Fault.TRUNCATED, "acme")]


async def test_a_rewritten_history_gets_no_new_signature(
    control: ControlHub, postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """The keeper holds the log against what it signed before, also after a restart."""
    await _changed(control)
    await _keeper(control).keep()
    with superuser(postgres_run, postgres_config) as connection:
        connection.execute("DELETE FROM hub.audit_entries")
        connection.execute("DELETE FROM hub.audit_heads")
    await _changed(control, times=5, now_ns=100)
    await _changed(control, "bolt")

    made = await _keeper(control).keep()

    assert [one.tenant_id for one in made] == ["bolt"]


async def test_only_what_moved_is_signed_again(control: ControlHub, tmp_path: Path) -> None:
    """A keeper that is new finds in the log what others signed; the vault has a file for each head."""
    vault = AuditVault(str(tmp_path / "vault"))
    await _changed(control)
    await _changed(control, "bolt")
    first = await _keeper(control, vault=vault).keep()
    await _changed(control, times=1)
    keeper = _keeper(control, vault=vault)
    second, third = await keeper.keep(), await keeper.keep()

    logged = await kept_heads(control.bus)
    verifier = HeadVerifier(SIGNER.public_keys)
    assert [(one.tenant_id, one.sequence) for one in (*first, *second, *third)] == [
        ("acme", 3),
        ("bolt", 3),
        ("acme", 4),
    ]
    assert all(verifier.is_good(one) for one in logged)
    key = lambda one: (one.tenant_id, one.sequence)  # noqa: E731 - of two sorts
    assert sorted(vault.heads(), key=key) == sorted(logged, key=key)
    assert [one.sequence for one in vault.heads("acme")] == [3, 4]


async def test_a_head_that_a_stranger_wrote_holds_nobody_up(control: ControlHub) -> None:
    """It is no reason to sign nothing, and a check names it."""
    await _changed(control)
    here = await control.services.audit.head("acme")
    forged: SignedHead = STRANGER.sign("acme", here._replace(sequence=99), now_ns=1)
    producer = await control.bus.producer("stranger")
    await _keeper(control, STRANGER).put([forged])
    await producer.close()

    made = await control.services.audit.sign()
    report = await control.services.audit.verify("acme")

    assert [one.sequence for one in made] == [3]
    assert [(one.fault, one.sequence) for one in report.findings] == [(Fault.FORGED, 99)]
    assert control.log.partition(AUDIT_HEADS.name, 0).end == 2


@pytest.mark.parametrize(
    "after", ["x", "1:2", "-1:2:acme", "1:٣:acme", "99999999999999999999:1:acme", "1:2:\x00"]
)
async def test_a_place_that_no_page_gave_is_refused(control: ControlHub, after: str) -> None:
    """And the field is named."""
    answer = await control.client.get("/platform/audit", params={"after": after}, headers=control.auth())

    assert (answer.status_code, answer.json()["field"]) == (422, "after")


@pytest.mark.parametrize(
    "query", ["after=-1", f"after={2**63}", "most=0", "outcome=maybe", "actor=%00", "most=501"]
)
async def test_what_no_filter_can_be_is_refused(control: ControlHub, query: str) -> None:
    """With 400 or 422, never a failure of the hub."""
    answer = await control.client.get(f"/tenants/acme/audit?{query}", headers=_admin(control))

    assert answer.status_code in {400, 422}


async def test_a_log_that_is_not_there_is_not_found(control: ControlHub) -> None:
    """As everything that is not there."""
    answer = await control.client.get("/tenants/nobody/audit/head", headers=control.auth())

    assert answer.status_code == 404
