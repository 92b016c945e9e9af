"""Quotas by HTTP: what may be held, what is, and every way to ask wrongly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from storage.postgres.tables.audit import AUDIT_ENTRIES
from tests.support.control import ControlHub
from tests.support.eventually import eventually
from tests.support.leases import add_tenants

CALLS = "concurrent_inferences"
HEADER = "x-resource-requirements"
SERVICE = ("tenant:service",)


@pytest.fixture
async def acme(control: ControlHub) -> ControlHub:
    """A control plane with tenants `acme` and `bolt` of tier pro, which gets what is not named: 4 calls."""
    await add_tenants(control.services.database, "acme", "bolt")
    return control


def as_service(hub: ControlHub, tenant: str = "acme") -> dict[str, str]:
    """A service of the tenant."""
    return hub.auth("robot", tenant=tenant, roles=SERVICE)


async def allocate(hub: ControlHub, body: Any = None, **headers: str) -> Any:
    """Ask for a lease."""
    return await hub.client.post("/tenants/acme/leases", json=body, headers=as_service(hub) | headers)


async def in_use(hub: ControlHub, resource: str = CALLS) -> int:
    """What the tenant holds."""
    answer = await hub.client.get("/tenants/acme/resources", headers=as_service(hub))
    (found,) = [one["in_use"] for one in answer.json()["resources"] if one["resource"] == resource]
    return int(found)


async def test_a_lease_from_its_beginning_to_its_end(acme: ControlHub) -> None:
    """Checked, allocated, seen in use, renewed, released, released again, and not renewed any more."""
    wanted = {"requirements": {CALLS: 3}}
    mine = as_service(acme)
    checked = await acme.client.post("/tenants/acme/resources/check", json=wanted, headers=mine)
    assert checked.json() == {"available": True, "shortages": []}

    made = await allocate(acme, wanted | {"ttl_s": 30})
    lease = made.json()
    assert (made.status_code, lease["requirements"], lease["holder"]) == (201, {CALLS: 3}, "robot")
    assert lease["expires_ns"] - lease["created_ns"] == 30 * 10**9
    assert await in_use(acme) == 3

    path = f"/tenants/acme/leases/{lease['lease_id']}"
    renewed = await acme.client.put(path, json={"ttl_s": 300}, headers=mine)
    assert renewed.json()["expires_ns"] > lease["expires_ns"]
    for _ in range(2):
        assert (await acme.client.delete(path, headers=mine)).status_code == 204
    assert await in_use(acme) == 0
    gone = await acme.client.put(path, headers=mine)
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


async def test_the_standing_names_unit_and_limit_of_everything(acme: ControlHub) -> None:
    """All resources in one answer, for the tenant's admin, its service and the platform's operator."""
    for roles, tenant in ((("tenant:admin",), "acme"), (SERVICE, "acme"), (("operator",), "platform")):
        mine = acme.auth("somebody", tenant=tenant, roles=roles)
        answer = await acme.client.get("/tenants/acme/resources", headers=mine)
        assert answer.status_code == 200
        listed = {one["resource"]: (one["unit"], one["limit"]) for one in answer.json()["resources"]}
        assert listed[CALLS] == ("calls in flight", 4)
        assert set(listed) == {CALLS, "models", "strategies", "storage_mb", "mt5_accounts"}


async def test_a_refusal_is_clear_and_in_the_audit(acme: ControlHub) -> None:
    """429 names resource, limit, in use, asked and when to come back; the audit says who was denied what."""
    await allocate(acme, {"requirements": {CALLS: 3}, "ttl_s": 60})
    refused = await allocate(acme, {"requirements": {CALLS: 2, "models": 1}})
    problem = refused.json()

    assert (refused.status_code, problem["code"], problem["retryable"]) == (429, "quota_exceeded", True)
    assert problem["details"] == {
        "resource": CALLS,
        "limit": 4,
        "in_use": 3,
        "asked": 2,
        "unit": "calls in flight",
    }
    assert 50 < int(refused.headers["retry-after"]) <= 60
    assert await in_use(acme, "models") == 0
    async with acme.services.database.tenant("acme") as connection:
        entries = (await connection.execute(select(AUDIT_ENTRIES))).mappings().all()
    denied = [row for row in entries if row["outcome"] == "denied"]
    assert [(row["actor"], row["action"]) for row in denied] == [("robot", "resources.allocate")]


async def test_the_header_says_the_same_as_the_body(acme: ControlHub) -> None:
    """Taken in place of the body's; with both, or neither, nobody guesses."""
    text = json.dumps({CALLS: 2})
    made = await allocate(acme, **{HEADER: text})
    assert (made.status_code, made.json()["requirements"]) == (201, {CALLS: 2})
    with_body = await allocate(acme, {"ttl_s": 5, "lease_id": "job"}, **{HEADER: text})
    assert (with_body.status_code, with_body.json()["lease_id"]) == (201, "job")

    both = await allocate(acme, {"requirements": {CALLS: 1}}, **{HEADER: text})
    neither = await allocate(acme)
    for answer in (both, neither):
        assert (answer.status_code, answer.json()["field"]) == (422, "requirements")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("{", 400),
        ("[]", 400),
        ('{"models": 1, "models": 2}', 400),
        ('{"models": 1}' + " " * 4096, 400),
        ('{"gpus": 1}', 422),
        ('{"models": -1}', 422),
        ('{"models": 1.5}', 422),
        ("{}", 422),
    ],
)
async def test_a_wrong_header_is_refused_by_name(acme: ControlHub, header: str, status: int) -> None:
    """By both routes that take it, before anything is decided."""
    for path in ("leases", "resources/check"):
        answer = await acme.client.post(f"/tenants/acme/{path}", headers=as_service(acme) | {HEADER: header})
        assert answer.status_code == status
        assert answer.json()["field"].startswith(HEADER)


async def test_a_header_sent_twice_is_refused(acme: ControlHub) -> None:
    """Also if both say the same."""
    headers = [*as_service(acme).items(), (HEADER, '{"models": 1}'), (HEADER, '{"models": 1}')]
    answer = await acme.client.post("/tenants/acme/leases", headers=headers)

    assert (answer.status_code, answer.json()["field"]) == (400, HEADER)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"requirements": {"models": 1}, "ttl_s": 0}', "ttl_s"),
        ('{"requirements": {"models": 1}, "ttl_s": 86401}', "ttl_s"),
        ('{"requirements": {"models": 1}, "ttl_s": NaN}', "ttl_s"),
        ('{"requirements": {"models": 1}, "lease_id": "../x"}', "lease_id"),
        ('{"requirements": {"models": 1}, "lease_id": "' + "a" * 65 + '"}', "lease_id"),
        ('{"requirements": {"models": 1}, "holder": "root"}', "holder"),
        ('{"requirements": {"models": 0}}', "requirements.models"),
        ('{"requirements": {"models": true}}', "requirements.models"),
        ('{"requirements": {"models": "1"}}', "requirements.models"),
        ('{"requirements": {}}', "requirements"),
        ('{"requirements": {"models": 1, "models": 2}}', "body"),
        ('{"requirements": ' + "[" * 5000, None),
    ],
)
async def test_a_wrong_body_is_refused_by_name(acme: ControlHub, body: str, field: str | None) -> None:
    """Times and ids out of bounds, an identity, no amounts, a name twice, endless nesting: never a 5xx."""
    headers = as_service(acme) | {"content-type": "application/json"}
    answer = await acme.client.post("/tenants/acme/leases", content=body, headers=headers)

    assert answer.status_code in {400, 422}
    assert answer.json()["field"] == field


async def test_another_tenants_leases_are_absent(acme: ControlHub) -> None:
    """Each route of a foreign tenant gives the answer of one that does not exist, and changes nothing."""
    lease = (await allocate(acme, {"requirements": {CALLS: 4}, "lease_id": "job"})).json()
    foreign = as_service(acme, "bolt")
    routes: list[tuple[str, str]] = [
        ("GET", "resources"),
        ("POST", "resources/check"),
        ("POST", "leases"),
        ("PUT", f"leases/{lease['lease_id']}"),
        ("DELETE", f"leases/{lease['lease_id']}"),
    ]
    for method, path in routes:
        body = {"requirements": {CALLS: 1}} if method == "POST" else None
        told = await acme.client.request(method, f"/tenants/acme/{path}", headers=foreign, json=body)
        none = await acme.client.request(method, f"/tenants/nobody/{path}", headers=foreign, json=body)
        assert (told.status_code, told.content) == (404, none.content)
    assert await in_use(acme) == 4
    own = await acme.client.post(
        "/tenants/bolt/leases", json={"requirements": {CALLS: 4}, "lease_id": "job"}, headers=foreign
    )
    assert own.status_code == 201


async def test_a_traders_role_is_too_weak(acme: ControlHub) -> None:
    """Neither reading nor taking; the refusal names what is missing."""
    trader = acme.auth("tim", tenant="acme", roles=("tenant:trader",))
    read = await acme.client.get("/tenants/acme/resources", headers=trader)
    took = await acme.client.post(
        "/tenants/acme/leases", json={"requirements": {"models": 1}}, headers=trader
    )

    assert (read.status_code, took.status_code) == (403, 403)


async def test_a_tenant_that_is_not_there_is_not_found_by_the_platform(acme: ControlHub) -> None:
    """By no route, and no row is made for it."""
    root = acme.auth()
    for path, body in (("resources/check", {"models": 1}), ("leases", {"models": 1})):
        answer = await acme.client.post(f"/tenants/nobody/{path}", json={"requirements": body}, headers=root)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await acme.client.get("/tenants/nobody/resources", headers=root)).status_code == 404


async def test_a_suspended_tenant_may_hold_nothing_until_it_is_resumed(acme: ControlHub) -> None:
    """By the platform's hand, since its own people do not come in: limits are 0, and back afterwards."""
    root = acme.auth()
    wanted = {"requirements": {"models": 1}}
    assert (await acme.client.post("/tenants/acme/leases", json=wanted, headers=root)).status_code == 201
    path = "/tenants/acme/suspension"
    suspended = await acme.client.put(path, json={"reason": "unpaid"}, headers=root)
    assert suspended.status_code == 200

    async def allowed() -> bool:
        answer = await acme.client.post("/tenants/acme/leases", json=wanted, headers=root)
        return answer.status_code == 201

    async def refused() -> bool:
        return not await allowed()

    assert await eventually(refused)
    assert (await acme.client.delete(path, headers=root)).status_code == 200
    assert await eventually(allowed)
