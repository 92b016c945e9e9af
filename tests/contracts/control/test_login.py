"""Coming in with a password: who gets in, who does not, and that nobody learns why."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher

from storage.postgres import people
from tests.support.control import ControlHub
from tests.support.eventually import eventually
from tests.support.logins import PASSWORD, add_user, bearer, client_from, logged_in, provision, try_login

pytestmark = pytest.mark.real_passwords
WRONG = "wrong horse battery"


async def test_a_login_opens_what_the_users_roles_open(control: ControlHub) -> None:
    """A short token of the hub's own, which names its session."""
    owner = await provision(control)
    pair = await logged_in(control)
    me = await control.client.get("/me", headers=bearer(pair))
    claims = jwt.decode(pair["access_token"], options={"verify_signature": False})
    header = jwt.get_unverified_header(pair["access_token"])

    assert me.status_code == 200, me.text
    assert me.json()["user_id"] == owner == claims["sub"]
    assert (header["alg"], header["typ"]) == ("EdDSA", "at+jwt")
    assert claims["exp"] - claims["iat"] <= pair["expires_in"] == 300
    assert claims["sid"] == pair["session_id"]
    assert claims["roles"] == ["tenant:owner"]


async def test_every_refusal_is_the_same(control: ControlHub) -> None:
    """Unknown tenant, unknown login, disabled user, wrong password, no password at all: the same bytes."""
    await provision(control)
    eve = await add_user(control, "eve")
    await control.client.patch(f"/tenants/acme/users/{eve}", json={"enabled": False}, headers=control.auth())
    body = {"login": "robot", "name": "Robot", "roles": ["tenant:service"]}
    await control.client.post("/tenants/acme/users", json=body, headers=control.auth())
    answers = [
        await try_login(control.client, tenant="nobody"),
        await try_login(control.client, "nobody"),
        await try_login(control.client, "eve"),
        await try_login(control.client, password=WRONG),
        await try_login(control.client, "robot"),
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["code"] == "login_refused"


async def test_a_refusal_takes_as_long_whoever_is_asked_for(control: ControlHub) -> None:
    """Every one looks at a password: by processor time none is quicker than half of another."""
    await provision(control)
    await try_login(control.client, "warm")

    async def took_s(number: int, **asked: Any) -> float:
        async with client_from(control, f"192.0.2.{number}") as client:
            begun = time.process_time()
            assert (await try_login(client, **asked)).status_code == 401
            return time.process_time() - begun

    kinds: list[dict[str, Any]] = [{"tenant": "nobody"}, {"login": "nobody"}, {"password": WRONG}]
    times = [
        [await took_s(10 * kind + turn, **asked) for turn in range(4)] for kind, asked in enumerate(kinds)
    ]
    medians = [statistics.median(one) for one in times]

    assert min(medians) > 0.5 * max(medians), medians


async def test_a_suspended_tenant_is_told_to_who_knows_the_password_alone(control: ControlHub) -> None:
    """Others get the refusal that everybody gets."""
    await provision(control)
    suspended = await control.client.put(
        "/tenants/acme/suspension", json={"reason": "unpaid"}, headers=control.auth()
    )
    assert suspended.status_code == 200, suspended.text
    right, wrong = await try_login(control.client), await try_login(control.client, password=WRONG)

    assert (right.status_code, right.json()["code"]) == (403, "tenant_suspended")
    assert (wrong.status_code, wrong.json()["code"]) == (401, "login_refused")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tenant": "acme", "login": "ann"},
        {"tenant": "ACME", "login": "ann", "password": PASSWORD},
        {"tenant": "acme'--", "login": "ann", "password": PASSWORD},
        {"tenant": "acme", "login": "ann", "password": ""},
        {"tenant": "acme", "login": "ann", "password": "x" * 129},
        {"tenant": "acme", "login": "ann", "password": [PASSWORD]},
        {"tenant": "acme", "login": "a\u0000nn", "password": PASSWORD},
        {"tenant": "acme", "login": "ann", "password": PASSWORD, "roles": ["admin"]},
    ],
    ids=str,
)
async def test_a_malformed_login_is_named_without_its_password(
    control: ControlHub, body: dict[str, Any]
) -> None:
    """422 with the field, and nothing of what was sent."""
    answer = await control.client.post("/auth/login", json=body)

    assert answer.status_code == 422
    assert PASSWORD not in answer.text


async def test_a_password_with_a_zero_byte_is_wrong_and_no_defect(control: ControlHub) -> None:
    """Whatever characters it has."""
    await provision(control)
    answer = await try_login(control.client, password="x\u0000" * 20)

    assert answer.status_code == 401


async def test_a_new_password_ends_the_other_sessions(control: ControlHub) -> None:
    """Not the one that changed it; the old password opens nothing any more."""
    await provision(control)
    mine, other = await logged_in(control), await logged_in(control)
    body = {"password": PASSWORD, "new_password": "another horse battery"}
    wrong = await control.client.post("/auth/password", json=body | {"password": WRONG}, headers=bearer(mine))
    changed = await control.client.post("/auth/password", json=body, headers=bearer(mine))

    async def refused() -> bool:
        return (await control.client.get("/me", headers=bearer(other))).status_code == 401

    await eventually(refused, 5.0)
    assert (wrong.status_code, changed.status_code) == (401, 204)
    assert (await control.client.get("/me", headers=bearer(mine))).status_code == 200
    assert (await try_login(control.client)).status_code == 401
    assert (await try_login(control.client, password="another horse battery")).status_code == 200


async def test_a_hash_of_weaker_parameters_is_made_anew(control: ControlHub) -> None:
    """At the next login, without anybody noticing."""
    owner = await provision(control)
    weak = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
    async with control.services.database.tenant("acme") as connection:
        await people.change(connection, owner, now_ns=1, password_hash=weak)
    await logged_in(control)
    async with control.services.database.tenant("acme") as connection:
        account = await people.find(connection, owner)

    assert account
    assert account.password_hash
    assert "m=65536,t=3,p=4" in account.password_hash
    assert (await try_login(control.client)).status_code == 200


async def test_logins_and_refusals_are_in_the_audit_without_secrets(control: ControlHub) -> None:
    """Who, from where, and how it ended."""
    await provision(control)
    await logged_in(control)
    await try_login(control.client, password=WRONG)
    answer = await control.client.get(
        "/tenants/acme/audit", params={"action": "auth.login"}, headers=control.auth()
    )

    assert [(one["outcome"], one["details"]["source"]) for one in answer.json()["entries"]] == [
        ("done", "127.0.0.1"),
        ("denied", "127.0.0.1"),
    ]
    assert PASSWORD not in answer.text
    assert WRONG not in answer.text


async def test_a_user_has_so_many_sessions_at_a_time(
    control: ControlHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was used longest ago ends."""
    monkeypatch.setattr("deployments.control.auth.login.MOST_SESSIONS", 2)
    await provision(control)
    pairs = [await logged_in(control) for _ in range(3)]
    answer = await control.client.get("/tenants/acme/sessions", headers=bearer(pairs[2]))

    kept = {one["session_id"] for one in answer.json()["sessions"]}
    assert kept == {pair["session_id"] for pair in pairs[1:]}


async def test_a_flood_of_logins_is_shed(control: ControlHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than waited for: 503 with a time to come back, and those who wait get their answer."""
    monkeypatch.setattr("deployments.control.auth.login.MOST_WAITING", 2)
    await provision(control)
    answers = await asyncio.gather(*(try_login(control.client, f"user{number}") for number in range(12)))

    statuses = {answer.status_code for answer in answers}
    assert statuses == {401, 503}
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 503)
