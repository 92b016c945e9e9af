"""Tenants, by HTTP."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
import pytest

from deployments.front.tenants_fold import KnownTenant
from models.tenant import TenantStatus
from models.usage import Measure, UsageKey
from storage.postgres import usage
from tests.support.control import OWNER, ControlHub, new_tenant
from tests.support.eventually import eventually


def known(control: ControlHub) -> KnownTenant:
    """What every process knows of the tenant."""
    record = control.assembled.tail.fold.tenant("acme")
    assert record is not None
    return record


async def test_one_call_makes_a_tenant_that_is_ready(control: ControlHub) -> None:
    """Tenant and owner are there, and every process knows the tenant."""
    answer = await control.client.post("/tenants", json=new_tenant(), headers=control.auth())
    made = answer.json()

    assert answer.status_code == 201
    assert (made["tenant"]["tier"], made["tenant"]["status"]) == ("pro", "active")
    assert made["owner"]["roles"] == ["tenant:owner"]
    await eventually(lambda: control.assembled.tail.fold.tenant("acme") is not None)


async def test_without_a_password_the_owner_is_invited_and_chooses_one(control: ControlHub) -> None:
    """The token of the invitation makes the owner once, and not twice."""
    owner = {"login": "ann", "name": "Ann"}
    made = await control.client.post("/tenants", json=new_tenant(owner=owner), headers=control.auth())
    acceptance = {"token": made.json()["invitation"], "name": "Ann", "password": "correct horse battery"}

    first = await control.client.post("/invitations/accept", json=acceptance)
    again = await control.client.post("/invitations/accept", json=acceptance)

    assert (first.status_code, first.json()["roles"]) == (201, ["tenant:owner"])
    assert (again.status_code, again.json()["code"]) == (401, "unauthenticated")


async def test_a_name_is_given_once(control: ControlHub) -> None:
    """The second tenant of a name is refused, and nothing of it is left."""
    await control.client.post("/tenants", json=new_tenant(), headers=control.auth())
    other = new_tenant(owner={**OWNER, "login": "bob"})
    again = await control.client.post("/tenants", json=other, headers=control.auth())
    users = await control.client.get("/tenants/acme/users", headers=control.auth())

    assert (again.status_code, again.json()["field"]) == (409, "tenant_id")
    assert [user["login"] for user in users.json()["users"]] == ["ann"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"tenant_id": "Acme"}, "tenant_id"),
        ({"tenant_id": "a/../b"}, "tenant_id"),
        ({"tenant_id": ""}, "tenant_id"),
        ({"tier": "gold"}, "tier"),
        ({"name": " "}, "name"),
        ({"owner": {"login": "ann", "name": "Ann", "password": "short"}}, "owner.password"),
        ({"owner": {"login": "A B", "name": "Ann"}}, "owner.login"),
        ({"entitled_until_ns": -1}, "entitled_until_ns"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_bad_input_names_the_field_and_leaves_nothing(
    control: ControlHub, wrong: dict[str, Any], field: str
) -> None:
    """422 with the field; no tenant is made."""
    answer = await control.client.post("/tenants", json=new_tenant() | wrong, headers=control.auth())
    page = await control.client.get("/tenants", headers=control.auth())

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert page.json()["tenants"] == []


async def test_a_tenant_sees_itself_and_no_other(control: ControlHub) -> None:
    """A foreign tenant and one that does not exist get the same answer, byte for byte."""
    for name in ("acme", "bolt"):
        await control.client.post("/tenants", json=new_tenant(name), headers=control.auth())
    ann = control.auth("ann", tenant="acme", roles=("tenant:owner",))

    own = await control.client.get("/tenants/acme", headers=ann)
    foreign = await control.client.get("/tenants/bolt", headers=ann)
    absent = await control.client.get("/tenants/nobody", headers=ann)

    assert own.status_code == 200
    assert foreign.status_code == absent.status_code == 404
    assert foreign.content == absent.content


async def test_a_tenant_changes_its_name_and_the_platform_its_tier(control: ControlHub) -> None:
    """The owner may not upgrade itself; the platform may, and the whole hub learns of it."""
    await control.client.post("/tenants", json=new_tenant(tier="free"), headers=control.auth())
    ann = control.auth("ann", tenant="acme", roles=("tenant:owner",))

    named = await control.client.patch("/tenants/acme", json={"name": "New"}, headers=ann)
    refused = await control.client.patch("/tenants/acme", json={"tier": "pro"}, headers=ann)
    raised = await control.client.patch("/tenants/acme", json={"tier": "pro"}, headers=control.auth())

    assert named.json()["name"] == "New"
    assert (refused.status_code, refused.json()["field"]) == (403, "tier")
    assert raised.json()["tier"] == "pro"
    await eventually(lambda: known(control).tier == "pro")


async def test_a_suspended_tenant_is_known_to_be_and_comes_back(control: ControlHub) -> None:
    """Suspension and its end reach the log; the platform itself cannot be suspended."""
    await control.client.post("/tenants", json=new_tenant(), headers=control.auth())
    reason = {"reason": "unpaid"}

    suspended = await control.client.put("/tenants/acme/suspension", json=reason, headers=control.auth())
    await eventually(lambda: known(control).status is TenantStatus.SUSPENDED)
    resumed = await control.client.delete("/tenants/acme/suspension", headers=control.auth())
    await eventually(lambda: known(control).status is TenantStatus.ACTIVE)
    itself = await control.client.put("/tenants/platform/suspension", json=reason, headers=control.auth())

    assert (suspended.status_code, resumed.status_code, itself.status_code) == (200, 200, 403)


async def test_tenants_come_in_pages(control: ControlHub) -> None:
    """`next` leads through all of them, once each."""
    names = [f"t{number}" for number in range(5)]
    for name in names:
        await control.client.post("/tenants", json=new_tenant(name), headers=control.auth())
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await control.client.get(f"/tenants?most=2&after={after}", headers=control.auth())
        seen += [one["tenant_id"] for one in page.json()["tenants"]]
        after = page.json()["next"]

    assert seen == names


async def test_a_tenant_is_exported_and_deleted_for_good(control: ControlHub) -> None:
    """The export holds its people, what they used and the audit, and no password; afterwards nothing is
    there, and the name is taken.
    """
    await control.client.post("/tenants", json=new_tenant(), headers=control.auth())
    async with control.services.database.platform() as connection:
        key = UsageKey("acme", "ann", date(2026, 11, 1), "pro", "inference", Measure.CALLS)
        await usage.add(connection, {key: 7})
    ann = control.auth("ann", tenant="acme", roles=("tenant:owner",))

    exported = await control.client.get("/tenants/acme/export", headers=ann)
    unsure = await control.client.delete("/tenants/acme?confirm=bolt", headers=ann)
    deleted = await control.client.delete("/tenants/acme?confirm=acme", headers=ann)
    gone = await control.client.get("/tenants/acme", headers=control.auth())
    again = await control.client.post("/tenants", json=new_tenant(), headers=control.auth())

    assert '"login":"ann"' in exported.text
    assert "password" not in exported.text
    lines = [orjson.loads(line) for line in exported.text.splitlines()]
    (used,) = [one for one in lines if one["what"] == "usage_days"]
    written = {one["action"]: one["hash"] for one in lines if one["what"] == "audit_entries"}
    assert (used["user_id"], used["amount"]) == ("ann", 7)
    assert len(written["tenants.create"]) == 64
    assert (unsure.status_code, unsure.json()["field"]) == (422, "confirm")
    assert (deleted.status_code, deleted.json()["status"]) == (200, "deleted")
    assert (gone.status_code, again.status_code) == (404, 409)
    await eventually(lambda: known(control).status is TenantStatus.DELETED)


async def test_a_tenant_begins_with_the_config_of_a_template(control: ControlHub) -> None:
    """And is not made at all where there is no such template."""
    unknown = await control.client.post("/tenants", json=new_tenant(template="none"), headers=control.auth())
    made = await control.client.post(
        "/tenants", json=new_tenant(template="conservative"), headers=control.auth()
    )
    versions = await control.client.get("/tenants/acme/config/versions", headers=control.auth())

    assert (unknown.status_code, made.status_code) == (422, 201)
    assert versions.json()["versions"][0]["comment"] == "template conservative"


async def test_an_invitation_of_nobody_is_refused_like_any_other(control: ControlHub) -> None:
    """A tenant that is not there, a secret that is wrong, and no token at all: the same 401."""
    made = await control.client.post(
        "/tenants", json=new_tenant(owner={"login": "ann", "name": "Ann"}), headers=control.auth()
    )
    real = made.json()["invitation"]
    forged = [real[:-1] + ("a" if real[-1] != "a" else "b"), real.replace("acme", "bolt"), "hinv.a.b.c", "x"]
    body = {"name": "Eve", "password": "correct horse battery"}
    answers = [
        await control.client.post("/invitations/accept", json={**body, "token": one}) for one in forged
    ]

    assert [answer.status_code for answer in answers] == [401] * 4
    assert len({answer.content for answer in answers}) == 1
