"""Scorecard S6, the refresh half: one winner of fifty, theft ends the family, and what ended is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from deployments.control.auth.sessions import TOLD_NS
from storage.postgres import sessions
from storage.postgres.tables.people import SESSIONS
from tests.support.control import ControlHub
from tests.support.eventually import eventually
from tests.support.logins import add_user, bearer, logged_in, provision, refreshed


async def refused(control: ControlHub, pair: dict[str, Any]) -> bool:
    """Whether the access token opens nothing any more."""
    return (await control.client.get("/me", headers=bearer(pair))).status_code == 401


async def test_a_refresh_gives_the_next_pair(control: ControlHub) -> None:
    """Both tokens are new, the session is the same, and its old access token lives out its minutes."""
    await provision(control)
    first = await logged_in(control)
    second = (await refreshed(control, first["refresh_token"])).json()
    third = (await refreshed(control, second["refresh_token"])).json()

    assert {one["session_id"] for one in (first, second, third)} == {first["session_id"]}
    assert (
        len({one[name] for one in (first, second, third) for name in ("access_token", "refresh_token")}) == 6
    )
    assert [await refused(control, one) for one in (first, second, third)] == [False, False, False]


async def test_of_fifty_refreshes_at_once_exactly_one_wins(control: ControlHub) -> None:
    """On real PostgreSQL, over the real pool; the others are a reuse, which is written down once."""
    await provision(control)
    pair = await logged_in(control)
    answers = await asyncio.gather(*(refreshed(control, pair["refresh_token"]) for _ in range(50)))

    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 49
    assert len({answer.content for answer in answers if answer.status_code == 401}) == 1
    audit = await control.client.get(
        "/tenants/acme/audit", params={"action": "auth.reuse"}, headers=control.auth()
    )
    assert len(audit.json()["entries"]) == 1


async def test_without_the_comparison_more_than_one_would_win(
    control: ControlHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is planted: a refresh that reads, then writes, lets through all who read before one wrote."""
    two_have_read = asyncio.Barrier(2)

    async def read_then_write(connection: Any, session_id: str, **asked: Any) -> Any:
        row = (
            await connection.execute(
                select(SESSIONS.c.generation, SESSIONS.c.secret_sha256).where(
                    SESSIONS.c.session_id == session_id
                )
            )
        ).one()
        if (row.generation, row.secret_sha256) != (asked["generation"], asked["secret_sha256"]):
            return None
        await two_have_read.wait()
        await connection.execute(
            SESSIONS.update()
            .where(SESSIONS.c.session_id == session_id)
            .values(generation=row.generation + 1, secret_sha256=asked["following_sha256"])
        )
        return await sessions.find(connection, session_id)

    await provision(control)
    pair = await logged_in(control)
    monkeypatch.setattr(sessions, "advance", read_then_write)
    answers = await asyncio.gather(*(refreshed(control, pair["refresh_token"]) for _ in range(2)))

    assert [answer.status_code for answer in answers] == [200, 200]


async def test_a_token_that_is_used_again_ends_the_whole_session(control: ControlHub) -> None:
    """For the thief and for its owner, everywhere within a second, and it is in the audit."""
    owner = await provision(control)
    first = await logged_in(control)
    second = (await refreshed(control, first["refresh_token"])).json()
    replayed = await refreshed(control, first["refresh_token"])

    assert replayed.status_code == 401
    await eventually(lambda: control.services.auth.fold.ended(first["session_id"]), 1.0)
    assert await refused(control, first)
    assert await refused(control, second)
    assert (await refreshed(control, second["refresh_token"])).status_code == 401
    audit = await control.client.get(
        "/tenants/acme/audit", params={"action": "auth.reuse"}, headers=control.auth()
    )
    [entry] = audit.json()["entries"]
    assert (entry["object"], entry["outcome"]) == (first["session_id"], "denied")
    assert entry["details"] == {"user": owner, "generation": 1, "newest": 2}


async def test_a_forged_refresh_token_ends_nobodys_session(control: ControlHub) -> None:
    """Whoever knows a session's name but not its secret gets 401 like everybody, and the session goes on."""
    await provision(control)
    await provision(control, "rival")
    pair = await logged_in(control)
    kind, tenant, session, generation, secret = pair["refresh_token"].split(".")
    other = "A" * len(secret)
    forged = [
        "",
        "x" * 299,
        pair["access_token"][:299],
        f"{kind}.{tenant}.{session}.{generation}.{other}",
        f"{kind}.{tenant}.{session}.2.{secret}",
        f"{kind}.{tenant}.{session}.0.{secret}",
        f"{kind}.{tenant}.{session}.-1.{secret}",
        f"{kind}.{tenant}.{session}.999999999999.{secret}",
        f"{kind}.{tenant}.{session}.\u0661.{secret}",
        f"{kind}.rival.{session}.{generation}.{secret}",
        f"{kind}.nobody.{session}.{generation}.{secret}",
        f"{kind}.{tenant}.{'0' * 32}.{generation}.{secret}",
        f"{kind}.{tenant}' OR '1'='1.{session}.{generation}.{secret}",
        f"{kind}.{tenant}.{session}.{generation}.{secret}\n",
        f"{pair['refresh_token']}.{secret}",
    ]
    answers = [await refreshed(control, token) for token in forged]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert (await refreshed(control, pair["refresh_token"])).status_code == 200


async def test_after_a_logout_nothing_of_the_session_counts(control: ControlHub) -> None:
    """Neither token, here and wherever the log is read."""
    await provision(control)
    pair = await logged_in(control)
    body = {"refresh_token": pair["refresh_token"]}
    left = await control.client.post("/auth/logout", json=body)
    again = await control.client.post("/auth/logout", json=body)

    await eventually(lambda: refused(control, pair), 5.0)
    assert (left.status_code, again.status_code) == (204, 401)
    assert (await refreshed(control, pair["refresh_token"])).status_code == 401


async def test_sessions_are_seen_and_ended_by_their_owner_and_the_admin(control: ControlHub) -> None:
    """A trader sees its own; an owner all of the tenant; to a stranger there are none."""
    await provision(control)
    await provision(control, "rival")
    await add_user(control, "bob")
    ann, bob, eve = (
        await logged_in(control),
        await logged_in(control, "bob"),
        await logged_in(control, tenant="rival"),
    )

    async def seen(who: dict[str, Any], tenant: str = "acme") -> Any:
        answer = await control.client.get(f"/tenants/{tenant}/sessions", headers=bearer(who))
        return (
            {one["session_id"] for one in answer.json()["sessions"]}
            if answer.is_success
            else answer.status_code
        )

    async def end(who: dict[str, Any], whose: dict[str, Any], tenant: str = "acme") -> tuple[int, bytes]:
        path = f"/tenants/{tenant}/sessions/{whose['session_id']}"
        answer = await control.client.delete(path, headers=bearer(who))
        return answer.status_code, answer.content

    assert await seen(bob) == {bob["session_id"]}
    assert await seen(ann) == {ann["session_id"], bob["session_id"]}
    assert await seen(eve) == 404
    foreign = [await end(bob, ann), await end(eve, ann), await end(eve, ann, "rival")]
    absent = await end(bob, {"session_id": "0" * 32})
    assert {*foreign} == {absent}
    assert absent[0] == 404
    assert (await end(ann, bob))[0] == 204
    await eventually(lambda: refused(control, bob), 5.0)
    assert not await refused(control, ann)


@pytest.mark.parametrize("change", [{"enabled": False}, {"roles": ["tenant:viewer"]}], ids=str)
async def test_a_user_that_changes_is_another_at_once(control: ControlHub, change: dict[str, Any]) -> None:
    """A disabled one is out; roles that were taken away stop counting without a new token."""
    await provision(control)
    bob = await add_user(control, "bob")
    pair = await logged_in(control, "bob")
    body = {"name": "a key", "scopes": ["infer"]}
    before = await control.client.post("/tenants/acme/keys", json=body, headers=bearer(pair))
    await control.client.patch(f"/tenants/acme/users/{bob}", json=change, headers=control.auth())

    async def status() -> int:
        return (await control.client.post("/tenants/acme/keys", json=body, headers=bearer(pair))).status_code

    async def another() -> bool:
        return await status() == (401 if "enabled" in change else 403)

    assert before.status_code == 201
    await eventually(another, 1.0)
    again = (await refreshed(control, pair["refresh_token"])).status_code
    assert again == (401 if "enabled" in change else 200)


async def test_what_counts_no_more_is_forgotten(control: ControlHub) -> None:
    """Rows and records of ended sessions go when no access token of them can be left."""
    await provision(control)
    pair = await logged_in(control)
    await control.client.post("/auth/logout", json={"refresh_token": pair["refresh_token"]})
    fold, session_id = control.services.auth.fold, pair["session_id"]
    await eventually(lambda: fold.ended(session_id))
    tidying = control.services.auth.tidying
    await tidying.once()
    assert fold.ended(session_id)
    ahead = control.services.clock() + TOLD_NS + 10**9
    tidying._clock = lambda: ahead
    await tidying.once()

    await eventually(lambda: fold.ended(session_id) is None)
    async with control.services.database.tenant("acme") as connection:
        assert await sessions.find(connection, session_id) is None
