"""Ten deaths of an inference replica with calls in flight, while ticks and requests come in."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter

import pytest

from serve_app.client import HubClient
from tests.e2e.conftest import UpHub
from tests.support.eventually import eventually
from tests.support.hub_run import Playback, asked, audited, ledger_of, played, subscribed
from tests.support.processes import replicas

KILLS, EVERY_S = 10, 15.0
PLAYBACK = Playback(seconds=int(KILLS * EVERY_S + 20), speed=60.0)
USERS = [f"chaos-user-{number}" for number in range(20)]


@pytest.mark.timeout(900)
async def test_ten_kills_cost_nobody_an_answer(hub: UpHub) -> None:
    """Ledger clean, no HTTP 5xx, and at most one slot missed per kill."""
    subscribed(hub, USERS, "patient@1/EURUSD")
    with audited(hub, PLAYBACK) as reader, played(hub, PLAYBACK) as playing:
        async with asked(hub) as load:
            await _kills(hub)
        assert playing.wait(timeout=PLAYBACK.seconds + 60) == 0
        ledger = ledger_of(reader)
    answers = Counter(one.status for one in load.answers)

    assert ledger["clean"], "\n".join(ledger["lines"])
    assert not [status for status in answers if status.startswith("5")], answers
    assert answers["200"] > 100, answers
    missed = sum(ledger["skipped"].get(f"patient@1 {why}", 0) for why in ("refused", "timeout"))
    assert missed <= KILLS, ledger["skipped"]


async def _kills(hub: UpHub) -> None:
    dead: set[int] = set()
    with hub.client("observer", admin=True) as observer:
        for _ in range(KILLS):
            victims = await eventually(lambda: _two_that_answer(hub, observer, dead), timeout_s=90)
            os.kill(victims[0], signal.SIGKILL)
            dead.add(victims[0])


def _two_that_answer(hub: UpHub, observer: HubClient, dead: set[int]) -> list[int]:
    """The replicas of the pool, once two are ready again: a death must leave somebody to answer."""
    found = replicas(hub.process.pid, "pool-light")
    assert len(found) == 2, found
    assert not dead.intersection(found)
    health = json.dumps(observer.call("GET", "/health"))
    assert "light: 2" in health, health
    return found
