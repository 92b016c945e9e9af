"""API keys: shown once, confined to scopes, rotated with a grace, and refused everywhere when they end."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import httpx2
import pytest

from messaging.ports import LogRecord
from messaging.topics import TENANTS
from tests.support.control import ControlHub
from tests.support.eventually import eventually
from tests.support.logins import add_user, bearer, logged_in, provision

KEY: dict[str, Any] = {"name": "robot", "scopes": ["profile:own", "keys:own"]}


def token_of(issued: httpx2.Response) -> dict[str, str]:
    """Headers of the key that was issued."""
    assert issued.status_code == 201, issued.text
    return {"Authorization": f"Bearer {issued.json()['token']}"}


async def make(control: ControlHub, headers: dict[str, str], **change: Any) -> httpx2.Response:
    """Ask for a key."""
    return await control.client.post("/tenants/acme/keys", json=KEY | change, headers=headers)


async def status(control: ControlHub, headers: dict[str, str], path: str = "/me") -> int:
    """What a caller gets there."""
    return (await control.client.get(path, headers=headers)).status_code


async def test_a_key_lets_a_program_in_within_its_scopes(control: ControlHub) -> None:
    """What the user may and the key may not is refused, and so is what neither may."""
    owner = await provision(control)
    ann = bearer(await logged_in(control))
    key = token_of(await make(control, ann))

    async def in_() -> bool:
        return await status(control, key) == 200

    await eventually(in_, 1.0)
    me = await control.client.get("/me", headers=key)
    assert me.json()["user_id"] == owner
    assert await status(control, ann, "/tenants/acme/users") == 200
    assert await status(control, key, "/tenants/acme/users") == 403
    assert await status(control, key, "/tenants/rival/users") == 404


async def test_the_secret_is_shown_once_and_kept_nowhere(control: ControlHub) -> None:
    """Not in the list, not in the audit, not in the log; there its hash is."""
    await provision(control)
    ann = bearer(await logged_in(control))
    issued = await make(control, ann)
    token = issued.json()["token"]
    secret = token.split("_", 2)[2]
    listed = await control.client.get("/tenants/acme/keys", headers=ann)
    audit = await control.client.get("/tenants/acme/audit", headers=control.auth())
    said = b"".join([bytes(record.value or b"") for record in await _records(control)])

    assert token.startswith(f"hubk_{issued.json()['key']['key_id']}_")
    assert [one["name"] for one in listed.json()["keys"]] == ["robot"]
    assert secret not in listed.text + audit.text
    assert secret.encode() not in said
    assert sha256(secret.encode()).hexdigest().encode() in said


@pytest.mark.parametrize(
    ("scopes", "code"),
    [
        (["infer"], 201),
        (["tenants:all"], 422),
        (["audit:platform", "infer"], 422),
        ([], 422),
        (["root"], 422),
    ],
)
async def test_a_key_may_no_more_than_its_user(control: ControlHub, scopes: list[str], code: int) -> None:
    """Scopes beyond the roles are refused by name."""
    await provision(control)
    answer = await make(control, bearer(await logged_in(control)), scopes=scopes)

    assert answer.status_code == code
    if code == 422:
        assert answer.json()["field"].startswith("scopes")


async def test_a_key_makes_no_key_that_may_more(control: ControlHub) -> None:
    """Or its scopes would confine nothing."""
    await provision(control)
    key = token_of(await make(control, bearer(await logged_in(control))))

    async def in_() -> bool:
        return await status(control, key) == 200

    await eventually(in_, 1.0)
    beyond, within = await make(control, key, scopes=["infer"]), await make(control, key, scopes=["keys:own"])

    assert (beyond.status_code, within.status_code) == (422, 201)


async def test_an_administrator_makes_keys_for_those_it_could_make(control: ControlHub) -> None:
    """For a service of its tenant; not in the name of somebody with a stronger role, nor of a stranger."""
    owner = await provision(control)
    await provision(control, "rival")
    await add_user(control, "adam", "tenant:admin")
    service = await add_user(control, "robot", "tenant:service")
    adam = bearer(await logged_in(control, "adam"))
    rival = await control.client.get("/tenants/rival/users", headers=control.auth())
    stranger = rival.json()["users"][0]["user_id"]
    robot = bearer(await logged_in(control, "robot"))

    for_service = await make(control, adam, user_id=service, scopes=["events:write"])
    for_owner = await make(control, adam, user_id=owner)
    for_stranger, for_nobody = (
        await make(control, adam, user_id=stranger),
        await make(control, adam, user_id="u-0"),
    )
    by_robot = await make(control, robot, user_id=owner)

    assert for_service.status_code == 201, for_service.text
    assert for_service.json()["key"]["user_id"] == service
    assert for_owner.status_code == 403
    assert (for_stranger.status_code, for_stranger.content) == (404, for_nobody.content)
    assert by_robot.status_code == 404


async def test_a_revoked_key_is_refused_within_a_second(control: ControlHub) -> None:
    """By whom it does not belong to it is not even there."""
    await provision(control)
    await add_user(control, "bob")
    ann, bob = bearer(await logged_in(control)), bearer(await logged_in(control, "bob"))
    issued = await make(control, ann)
    key, path = token_of(issued), f"/tenants/acme/keys/{issued.json()['key']['key_id']}"

    async def in_() -> bool:
        return await status(control, key) == 200

    async def out() -> bool:
        return await status(control, key) == 401

    await eventually(in_, 1.0)
    foreign = await control.client.delete(path, headers=bob)
    absent = await control.client.delete("/tenants/acme/keys/0000000000000000", headers=bob)
    revoked = await control.client.delete(path, headers=ann)
    await eventually(out, 1.0)

    assert (foreign.status_code, foreign.content) == (404, absent.content)
    assert revoked.status_code == 204
    assert (await control.client.delete(path, headers=ann)).status_code == 404


async def test_a_rotated_key_goes_on_for_its_grace(control: ControlHub) -> None:
    """Both work until it is over; the new one keeps name and scopes."""
    await provision(control)
    ann = bearer(await logged_in(control))
    first = await make(control, ann)
    path = f"/tenants/acme/keys/{first.json()['key']['key_id']}/rotate"
    second = await control.client.post(path, params={"grace_s": 2}, headers=ann)
    old, new = token_of(first), token_of(second)

    async def statuses() -> tuple[int, int]:
        return await status(control, old), await status(control, new)

    async def both() -> bool:
        return await statuses() == (200, 200)

    async def new_alone() -> bool:
        return await statuses() == (401, 200)

    await eventually(both, 1.5)
    await eventually(new_alone, 5.0)
    assert second.json()["key"]["scopes"] == first.json()["key"]["scopes"]
    assert second.json()["key"]["name"] == "robot"


async def test_a_removed_users_keys_end_with_it(control: ControlHub) -> None:
    """And a suspended tenant's with the suspension, which says so."""
    await provision(control)
    bob_id = await add_user(control, "bob")
    bob, ann = bearer(await logged_in(control, "bob")), bearer(await logged_in(control))
    bobs, anns = token_of(await make(control, bob)), token_of(await make(control, ann))

    async def in_() -> bool:
        return await status(control, bobs) == await status(control, anns) == 200

    async def out() -> bool:
        return await status(control, bobs) == 401

    async def suspended() -> bool:
        return await status(control, anns) == 403

    await eventually(in_, 1.0)
    await control.client.delete(f"/tenants/acme/users/{bob_id}", headers=control.auth())
    await eventually(out, 1.0)
    await control.client.put("/tenants/acme/suspension", json={"reason": "unpaid"}, headers=control.auth())
    await eventually(suspended, 1.0)


async def _records(control: ControlHub) -> list[LogRecord]:
    """All that others were told."""
    first, end = await control.bus.bounds(TENANTS.name, 0)
    return [record async for batch in control.bus.read(TENANTS.name, 0, first, end) for record in batch]
