"""Open sockets obey what becomes of their caller, within a second, and an idle hub pays nothing for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deployments.front.tenants_fold import TenantsFold
from deployments.stream.watch import StandingWatch
from messaging.ports import LogRecord
from messaging.topics import TENANTS
from tests.support.virtual_loop import later
from tests.unit.front.signal_log import ALICE, NEIGHBOURS, principal
from tests.unit.stream.stage import Client, Stage, play


class Watched:
    """A stage with a copy of `hub.tenants` that changes when told."""

    def __init__(self, stage: Stage) -> None:
        self.fold = TenantsFold()
        self.watch = StandingWatch(self.fold, stage.switchboard)
        self.task: asyncio.Task[Any] = asyncio.create_task(self.watch.run())

    def change(self) -> None:
        """Something is told; what, the tokens of the stage say."""
        self.fold.take_all([LogRecord(TENANTS.name, 0, self.fold.version + 1, 0, b'["tenant","x"]', None)])


async def _opened(stage: Stage) -> tuple[Client, Client, Watched]:
    watched = Watched(stage)
    client, other = stage.open("since_seq=0"), stage.open("since_seq=0", token=NEIGHBOURS[0])
    await later(0.5)
    return client, other, watched


@pytest.mark.parametrize(("what", "code"), [("suspended", 4423), ("gone", 4401), ("roles", 4403)])
def test_a_caller_that_would_not_be_let_in_is_let_go(what: str, code: int) -> None:
    """Within a second of the change, with a code that says which; others stay."""

    async def story(stage: Stage) -> tuple[Client, Client]:
        client, other, watched = await _opened(stage)
        if what == "roles":
            stage.tokens.principals[ALICE] = principal().model_copy(update={"roles": frozenset()})
        else:
            getattr(stage.tokens, what).add(ALICE)
        watched.change()
        await later(1.0)
        return client, other

    client, other = play(story, recheck_s=60.0)
    assert client.closed is not None
    assert client.closed[0] == code
    assert other.closed is None


def test_without_the_watch_a_suspension_would_wait_for_the_token() -> None:
    """The fault is planted: nobody looks."""

    async def story(stage: Stage) -> Client:
        client, _, watched = await _opened(stage)
        watched.task.cancel()
        stage.tokens.suspended.add(ALICE)
        watched.change()
        await later(5.0)
        return client

    assert play(story, recheck_s=60.0).closed is None


def test_a_shorter_entitlement_ends_the_socket_and_a_longer_one_keeps_it() -> None:
    """The entitlement is the tenant's as it is now, not as it was when the socket was opened."""

    async def story(stage: Stage) -> tuple[bool, Client]:
        watched = Watched(stage)
        stage.tokens.principals[ALICE] = principal().model_copy(
            update={"entitled_until_ns": stage.clock() + 5 * 10**9}
        )
        client = stage.open("since_seq=0")
        await later(2.0)
        stage.tokens.principals[ALICE] = principal()
        watched.change()
        await later(20.0)
        kept = client.closed is None
        stage.tokens.principals[ALICE] = principal().model_copy(update={"entitled_until_ns": 1})
        watched.change()
        await later(5.0)
        return kept, client

    kept, client = play(story, recheck_s=600.0)
    assert kept
    assert client.closed is not None
    assert client.closed[0] == 4403


def test_nobody_is_looked_at_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour costs two thousand comparisons of a number, and no token is verified."""

    async def story(stage: Stage) -> int:
        await _opened(stage)
        asked = 0
        known = stage.tokens.known

        async def counted(bearer: str) -> Any:
            nonlocal asked
            asked += 1
            return await known(bearer)

        monkeypatch.setattr(stage.tokens, "known", counted)
        await later(120.0)
        return asked

    assert play(story, recheck_s=10_000.0) == 0


def test_who_may_not_see_signals_is_not_let_in() -> None:
    """403 before the upgrade, for a token or a key without the permission."""

    async def story(stage: Stage) -> Client:
        stage.tokens.principals[ALICE] = principal().model_copy(update={"scopes": frozenset({"infer"})})
        client = stage.open()
        await later(0.5)
        return client

    refused = play(story).refused
    assert refused
    assert (refused[0], refused[1]["code"]) == (403, "forbidden")
