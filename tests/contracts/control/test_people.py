"""Users of a tenant, by HTTP: nobody reaches beyond their tenant or above their role."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from deployments.front.subscriptions import SubscriptionReader, SubscriptionWriter
from models.principal import Tier
from models.subscription import Subscription
from tests.support.control import ControlHub, new_tenant
from tests.support.eventually import eventually


async def _acme(control: ControlHub) -> tuple[str, dict[str, str]]:
    """A tenant; its owner's id and headers."""
    made = await control.client.post("/tenants", json=new_tenant(), headers=control.auth())
    owner = made.json()["owner"]["user_id"]
    return owner, control.auth(owner, tenant="acme", roles=("tenant:owner",))


async def _add(control: ControlHub, headers: dict[str, str], login: str, *roles: str) -> dict[str, Any]:
    body = {"login": login, "name": login.title(), "roles": roles or ["tenant:trader"]}
    added = await control.client.post("/tenants/acme/users", json=body, headers=headers)
    assert added.status_code == 201, added.text
    user: dict[str, Any] = added.json()
    return user


async def test_users_are_added_read_changed_and_removed(control: ControlHub) -> None:
    """The whole life of a user; what is over is announced to everybody."""
    _, ann = await _acme(control)
    bob = await _add(control, ann, "bob")
    path = f"/tenants/acme/users/{bob['user_id']}"

    changed = await control.client.patch(path, json={"roles": ["tenant:viewer"]}, headers=ann)
    listed = await control.client.get("/tenants/acme/users", headers=ann)
    removed = await control.client.delete(path, headers=ann)
    gone = await control.client.get(path, headers=ann)

    assert changed.json()["roles"] == ["tenant:viewer"]
    assert [one["login"] for one in listed.json()["users"]] == ["ann", "bob"]
    assert (removed.status_code, gone.status_code) == (204, 404)
    fold = control.assembled.tail.fold
    await eventually(lambda: (seen := fold.user("acme", bob["user_id"])) is not None and not seen.enabled)


@pytest.mark.parametrize(
    ("giver", "role"),
    [
        ("tenant:admin", "tenant:owner"),
        ("tenant:admin", "tenant:admin"),
        ("tenant:trader", "tenant:trader"),
        ("tenant:viewer", "tenant:viewer"),
        ("tenant:service", "tenant:trader"),
    ],
)
async def test_nobody_gives_a_role_stronger_than_theirs(control: ControlHub, giver: str, role: str) -> None:
    """Refused, and the user is not there."""
    _, ann = await _acme(control)
    body = {"login": "eve", "name": "Eve", "roles": [role]}
    headers = control.auth("someone", tenant="acme", roles=(giver,))

    answer = await control.client.post("/tenants/acme/users", json=body, headers=headers)
    listed = await control.client.get("/tenants/acme/users", headers=ann)

    assert answer.status_code == 403
    assert [one["login"] for one in listed.json()["users"]] == ["ann"]


async def test_the_platforms_roles_are_given_in_the_platform_alone(control: ControlHub) -> None:
    """Not even the platform's admin makes an admin of a tenant's user."""
    _, ann = await _acme(control)
    body = {"login": "eve", "name": "Eve", "roles": ["admin"]}
    for headers in (ann, control.auth()):
        answer = await control.client.post("/tenants/acme/users", json=body, headers=headers)

        assert (answer.status_code, answer.json()["field"]) == (422, "roles")


async def test_an_admin_cannot_touch_the_owner(control: ControlHub) -> None:
    """Neither demote nor disable nor remove."""
    owner, _ = await _acme(control)
    adam = control.auth("adam", tenant="acme", roles=("tenant:admin",))
    path = f"/tenants/acme/users/{owner}"

    demoted = await control.client.patch(path, json={"roles": ["tenant:viewer"]}, headers=adam)
    disabled = await control.client.patch(path, json={"enabled": False}, headers=adam)
    removed = await control.client.delete(path, headers=adam)

    assert [demoted.status_code, disabled.status_code, removed.status_code] == [403, 403, 403]


async def test_the_last_owner_stays(control: ControlHub) -> None:
    """Until there is another one."""
    owner, ann = await _acme(control)
    path = f"/tenants/acme/users/{owner}"
    change = {"roles": ["tenant:viewer"]}

    alone = await control.client.patch(path, json=change, headers=ann)
    await _add(control, ann, "olga", "tenant:owner")
    followed = await control.client.patch(path, json=change, headers=ann)

    assert (alone.status_code, followed.status_code) == (403, 200)


async def test_a_user_of_another_tenant_is_as_good_as_none(control: ControlHub) -> None:
    """By its own tenant's path and by the foreign one: always the same 404."""
    owner, _ = await _acme(control)
    await control.client.post("/tenants", json=new_tenant("bolt"), headers=control.auth())
    eve = control.auth("eve", tenant="bolt", roles=("tenant:owner",))
    answers = [
        await control.client.get(f"/tenants/{tenant}/users/{user}", headers=eve)
        for tenant, user in (("acme", owner), ("bolt", owner), ("bolt", "nobody"), ("none", owner))
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1


async def test_people_change_themselves_and_not_their_roles(control: ControlHub) -> None:
    """`/me` takes name, address and profile; roles are no field of it."""
    _, ann = await _acme(control)
    bob = await _add(control, ann, "bob")
    headers = control.auth(bob["user_id"], tenant="acme", roles=("tenant:trader",))

    changed = await control.client.patch("/me", json={"profile": {"zone": "UTC"}}, headers=headers)
    roles = await control.client.patch("/me", json={"roles": ["tenant:owner"]}, headers=headers)

    assert changed.json()["profile"] == {"zone": "UTC"}
    assert (roles.status_code, roles.json()["field"]) == (422, "roles")


async def test_a_change_of_what_has_changed_is_refused(control: ControlHub) -> None:
    """Two who read the same version: the second is told."""
    _, ann = await _acme(control)
    bob = await _add(control, ann, "bob")
    path = f"/tenants/acme/users/{bob['user_id']}?version={bob['version']}"

    first = await control.client.patch(path, json={"name": "Bobby"}, headers=ann)
    second = await control.client.patch(path, json={"name": "Robert"}, headers=ann)

    assert (first.status_code, second.status_code, second.json()["field"]) == (200, 409, "version")


async def test_a_login_is_taken_once_in_a_tenant(control: ControlHub) -> None:
    """And free in another one."""
    _, ann = await _acme(control)
    await _add(control, ann, "bob")
    body = {"login": "BOB", "name": "Bob"}

    again = await control.client.post("/tenants/acme/users", json=body, headers=ann)
    await control.client.post("/tenants", json=new_tenant("bolt"), headers=control.auth())
    elsewhere = await control.client.post("/tenants/bolt/users", json=body, headers=control.auth())

    assert (again.status_code, again.json()["field"], elsewhere.status_code) == (409, "login", 201)


async def test_nobody_is_added_to_a_tenant_that_is_not_there(control: ControlHub) -> None:
    """Not even by the platform's admin, and neither to one that was deleted."""
    await _acme(control)
    await control.client.delete("/tenants/acme?confirm=acme", headers=control.auth())
    body = {"login": "bob", "name": "Bob"}
    answers = [
        await control.client.post(f"/tenants/{tenant}/users", json=body, headers=control.auth())
        for tenant in ("nobody", "acme")
    ]

    assert [answer.status_code for answer in answers] == [404, 404]


async def test_a_batch_is_added_as_a_whole_or_not_at_all(control: ControlHub) -> None:
    """One login that is taken keeps all of them out; passwords and repeats are refused."""
    _, ann = await _acme(control)
    path, names = "/tenants/acme/users/batch", [f"user{number}" for number in range(200)]
    batch = {"users": [{"login": name, "name": name} for name in names]}
    taken = {"users": [{"login": "new", "name": "New"}, {"login": "ann", "name": "Ann"}]}
    secret = {"users": [{"login": "new", "name": "New", "password": "correct horse battery"}]}

    added = await control.client.post(path, json=batch, headers=ann)
    refused = [await control.client.post(path, json=body, headers=ann) for body in (taken, secret, batch)]
    listed = await control.client.get("/tenants/acme/users?most=500", headers=ann)

    assert [one["login"] for one in added.json()["users"]] == names
    assert [answer.status_code for answer in refused] == [409, 422, 409]
    assert sorted(one["login"] for one in listed.json()["users"]) == sorted(["ann", *names])


async def test_who_is_disabled_or_removed_gets_no_more_signals(control: ControlHub) -> None:
    """The log of subscriptions says so, and says otherwise again for one who is enabled."""
    _, ann = await _acme(control)
    bob, eve = await _add(control, ann, "bob"), await _add(control, ann, "eve")
    reader, writer = SubscriptionReader(control.bus), SubscriptionWriter(control.bus)
    await writer.put_many([_subscribed(bob), _subscribed(eve)])
    path = f"/tenants/acme/users/{bob['user_id']}"

    async def ends(user: dict[str, Any]) -> int:
        found = {one.user_id: one.entitled_until_ns for one in await reader.entitlements_of("acme")}
        return found.get(user["user_id"], -1)

    await control.client.delete(f"/tenants/acme/users/{eve['user_id']}", headers=ann)
    await control.client.patch(path, json={"enabled": False}, headers=ann)
    await eventually(lambda: _equal(ends(bob), 0))
    await eventually(lambda: _equal(ends(eve), 0))
    await control.client.patch(path, json={"enabled": True}, headers=ann)
    await eventually(lambda: _exceeds(ends(bob), 0))
    await writer.close()


def _subscribed(user: dict[str, Any]) -> Subscription:
    return Subscription(
        user_id=user["user_id"],
        tenant_id="acme",
        account_id="default",
        strategy="momentum@1",
        symbol="EURUSD",
        tier=Tier.PRO,
        entitled_until_ns=2**62,
    )


async def _equal(found: Awaitable[int], wanted: int) -> bool:
    return await found == wanted


async def _exceeds(found: Awaitable[int], bound: int) -> bool:
    return await found > bound


@pytest.mark.parametrize("path", ["/tenants/%00", "/tenants/acme/users/%00", "/tenants/acme/users?after=%00"])
async def test_what_no_database_keeps_is_bad_input(control: ControlHub, path: str) -> None:
    """A NUL in a path or a query is refused, and is no defect."""
    await _acme(control)
    answer = await control.client.get(path, headers=control.auth())

    assert (answer.status_code, answer.json()["code"]) == (422, "bad_value")
