"""The stream of the running hub: two users, each with its own signals, connecting again at random moments."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from models.strategy import load_strategies
from serve_app.settings import load_settings, read_text
from serve_app.stream_client import SignalStream
from tests.e2e.conftest import UpHub
from tests.support.eventually import eventually
from tests.support.hub_run import Playback, played

pytestmark = [pytest.mark.kafka, pytest.mark.serve, pytest.mark.slow, pytest.mark.timeout(600)]
USERS = ("streamed-a", "streamed-b")
ENOUGH = 40


@pytest.fixture
def playing(hub: UpHub) -> Iterator[None]:
    """Ticks for a minute at most, while both users are subscribed."""
    for user in USERS:
        with hub.client(user) as client:
            for symbol in ("EURUSD", "NZDUSD"):
                client.call("PUT", f"/api/v1/subscriptions/{strategy(hub)}/{symbol}", body={"risk": {}})
    with played(hub, Playback(seconds=60, speed=60.0)):
        yield


def strategy(hub: UpHub) -> str:
    """One that the hub runs."""
    return load_strategies(read_text(load_settings().strategies))[0].ref


async def followed(hub: UpHub, user: str, rng: Random) -> list[dict[str, Any]]:
    """What a client gets that hangs up at random and goes on where it was."""
    frames: list[dict[str, Any]] = []
    last: int | None = 0
    while sum("type" not in frame for frame in frames) < ENOUGH:
        stream = SignalStream(hub.address.url, hub.token(user), since=last, account=None, rng=rng)
        stop_at = len(frames) + rng.randrange(1, 12)
        async for frame in stream.frames():
            frames.append(frame)
            if len(frames) >= stop_at:
                break
        last = stream.last
    return frames


async def test_each_user_gets_its_own_signals_once_and_in_order(hub: UpHub, playing: None) -> None:
    """However often it connects again; what came late is named, so every number is accounted for."""
    async with asyncio.timeout(200):
        found = await asyncio.gather(*(followed(hub, user, Random(user)) for user in USERS))

    for user, frames in zip(USERS, found, strict=True):
        signals = [frame for frame in frames if "type" not in frame]
        assert {signal["user_id"] for signal in signals} == {user}
        told = [n for frame in frames for n in numbers(frame)]
        assert told == list(range(1, told[-1] + 1))
        await backfilled(hub, user, signals)


def numbers(frame: dict[str, Any]) -> range:
    """The sequences that a frame accounts for."""
    if "type" not in frame:
        return range(frame["sequence"], frame["sequence"] + 1)
    return range(frame["from"], frame["to"] + 1) if frame["type"] == "skipped" else range(0)


async def backfilled(hub: UpHub, user: str, streamed: list[dict[str, Any]]) -> None:
    """The same signals come by HTTP, from a mark, and an old one is explained by its number."""
    first = streamed[0]
    with hub.client(user) as client:

        def page() -> Any:
            return client.call(
                "GET", "/api/v1/signals", query={"since_seq": first["sequence"] - 1, "limit": 1}
            )

        got = await eventually(lambda: asyncio.to_thread(page))
        assert (got["signals"][0]["delivery_id"], got["complete"]) == (first["delivery_id"], True)
        explained = await asyncio.to_thread(
            client.call,
            "GET",
            f"/api/v1/signals/{first['delivery_id']}/explain",
            query={"sequence": first["sequence"]},
        )
        assert explained["prediction"]["slot"]["signal_id"] == first["signal_id"]
