"""Who is let in: by a verified token alone, before the upgrade, with a problem that says what was wrong."""

from __future__ import annotations

from typing import Any

import pytest

from messaging.topics import DENIALS
from models.audit import DenialReport
from models.principal import Tier
from tests.support.virtual_loop import later, until
from tests.unit.front.signal_log import ALICE, NEIGHBOURS, principal
from tests.unit.stream.stage import Client, Stage, play


def answer(query: str = "", token: str = ALICE, **scope: Any) -> Client:
    """What one attempt to connect gets."""

    async def story(stage: Stage) -> Client:
        client = stage.open(query, token, **scope)
        await until(lambda: client.messages)
        await later(0.1)
        return client

    return play(story)


@pytest.mark.parametrize(
    ("token", "headers", "subprotocols"),
    [
        ("", [], []),
        ("", [(b"authorization", b"Basic YWxpY2U6eA==")], []),
        ("", [(b"authorization", b"Bearer alice"), (b"authorization", b"Bearer alice")], []),
        ("", [(b"authorization", b"Bearer alice")], ["hub.stream.1", "bearer.alice"]),
        ("", [], ["bearer.alice", "bearer.bob"]),
        ("", [], ["bearer."]),
        ("", [(b"x-user-id", b"alice"), (b"x-tenant-id", b"tenant")], []),
    ],
)
def test_without_exactly_one_token_there_is_no_upgrade(
    token: str, headers: list[tuple[bytes, bytes]], subprotocols: list[str]
) -> None:
    """401, the same words for all; headers that claim an identity count for nothing."""
    client = answer(token=token, headers=headers, subprotocols=subprotocols)

    assert not client.accepted
    assert client.refused
    assert client.refused[0] == 401
    assert client.refused[1]["code"] == "unauthenticated"


def test_a_server_that_cannot_answer_a_refusal_refuses_all_the_same() -> None:
    """Without the extension a closed handshake is all there is: 403."""
    client = answer(token="", extensions={})

    assert client.messages == [{"type": "websocket.close", "code": 1008}]


def test_browsers_bring_the_token_as_a_subprotocol() -> None:
    """And are answered with the one that carries no secret."""
    client = answer(headers=[], subprotocols=["hub.stream.1", f"bearer.{ALICE}"])

    assert client.messages[0] == {"type": "websocket.accept", "subprotocol": "hub.stream.1"}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since_seq=-1", "since_seq"),
        ("since_seq=x", "since_seq"),
        ("since_seq=", "since_seq"),
        ("since_seq=%C2%B2", "since_seq"),
        (f"since_seq={2**53 + 1}", "since_seq"),
        (f"since_seq={'9' * 5000}", "since_seq"),
        ("since_seq=1&since_seq=2", "query"),
        ("token=alice", "query"),
        ("access_token=alice", "query"),
        ("user_id=bob", "query"),
        ("&".join(f"a{n}=1" for n in range(2000)), "query"),
        ("account=", "account"),
        (f"account={'a' * 65}", "account"),
    ],
)
def test_a_bad_query_is_named(query: str, field: str) -> None:
    """422 with the parameter, and nothing of what was sent."""
    refused = answer(query).refused

    assert refused
    assert (refused[0], refused[1]["field"]) == (422, field)
    assert "alice" not in refused[1]["detail"]


def test_another_address_is_not_there() -> None:
    """Below the one path there is nothing."""
    refused = answer(path="/api/v1/stream/bob").refused

    assert refused
    assert refused[0] == 404


def test_who_may_not_come_in_is_noted() -> None:
    """Without the permission, and with an entitlement that has ended; who may come in is not."""

    async def story(stage: Stage) -> list[DenialReport]:
        stage.log.log.add_topic(DENIALS.name, DENIALS.partitions, DENIALS.policy)
        stage.tokens.principals["roleless"] = principal("bob").model_copy(update={"roles": frozenset()})
        stage.tokens.principals["ended"] = principal("eve").model_copy(update={"entitled_until_ns": 0})
        for token in ("roleless", "ended", ALICE, "forged"):
            stage.open(token=token)
        await later(1)
        await stage.denials.flush()
        records = stage.log.log.partition(DENIALS.name, 0).records
        return [DenialReport.from_record(one.value or b"") for one in records]

    (report,) = play(story)
    assert [(one.user_id, one.action, one.object) for one in report.denials] == [
        ("bob", "access.signals:own", "the stream"),
        ("eve", "access.signals:own", "the stream"),
    ]


def test_a_tier_opens_so_many_sockets_per_user_and_a_closed_one_makes_room() -> None:
    """Of one user; others are not touched."""

    async def story(stage: Stage) -> tuple[list[bool], dict[str, Any], bool, bool]:
        free = principal().model_copy(update={"tier": Tier.FREE})
        stage.tokens.principals[ALICE] = free
        clients = [stage.open() for _ in range(6)]
        await later(1)
        refused = next(client.refused for client in clients if client.refused)
        other = stage.open(token=NEIGHBOURS[0])
        clients[0].leave()
        await later(1)
        again = stage.open()
        await later(1)
        assert refused[0] == 429
        return [client.accepted for client in clients], refused[1], other.accepted, again.accepted

    accepted, problem, other, again = play(story)
    assert accepted == [True] * 5 + [False]
    assert problem["details"] == {"sockets": 5}
    assert "streams" in problem["detail"]
    assert (other, again) == (True, True)


async def test_the_address_answers_requests_that_are_no_websocket() -> None:
    """With what it wants, not with a defect."""
    sent: list[Any] = []

    async def story(stage: Stage) -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request"}

        await stage.app({"type": "http", "path": "/api/v1/stream", "headers": []}, receive, send)

    await story(Stage())
    assert sent[0]["status"] == 400
