"""What operators see of routing: analytics of this gateway, its experiments, a recording of its decisions."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from deployments.gateway.routes.analytics import AT_ONCE, RoutingAnalytics
from models.errors import AlreadyRecording, HubError
from models.outcome import OK, Assignment, DecisionOutcome
from models.request import Requirements
from models.task import DataSize
from routing.catalogue import Catalogue
from routing.recordings.recording import Decided, End, Header, decode
from routing.trials.tally import Figures, Tally
from tests.support.cards import a_card
from tests.support.eventually import eventually
from tests.unit.gateway.doubles import TestHub, decision

ANALYTICS = "/api/v1/routing/analytics"
RECORDING = "/api/v1/routing/recording"


def admin(hub: TestHub) -> dict[str, str]:
    """Headers of an operator."""
    return hub.auth(roles=["admin"])


def outcome(hub: TestHub, **changes: Any) -> DecisionOutcome:
    """A request that was just answered in time."""
    fields: dict[str, Any] = {
        "profile": "balanced",
        "tier": "pro",
        "outcome": OK,
        "met": True,
        "elapsed_ms": 10.0,
        "ended_ns": hub.clock(),
        "decision": decision("d" * 32),
    }
    return DecisionOutcome(**fields | changes)


async def test_analytics_are_of_this_gateway_and_say_so(hub: TestHub) -> None:
    """Its name, how long it has counted, all of that and the last minutes."""
    operator = admin(hub)
    hub.services.observer.observe(outcome(hub))
    hub.clock.move(500)
    hub.services.observer.observe(outcome(hub, outcome="shed", met=False, decision=None))
    found = (await hub.client.get(ANALYTICS, params={"minutes": 5}, headers=operator)).json()

    assert (found["gateway"], found["uptime_s"], found["minutes"]) == ("gateway", 500.0, 5)
    assert (found["since_start"]["total"]["requests"], found["recent"]["total"]["requests"]) == (2, 1)
    assert found["since_start"]["by_model"]["ridge@1"]["picks"] == 1
    assert found["recent"]["by_model"] == {}
    assert found["recent"]["total"]["sheds"] == 1
    assert RoutingAnalytics.model_validate(found).model_dump(mode="json") == found


async def test_analytics_of_many_cells_let_other_requests_by(
    hub: TestHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop comes round after every few tallies, however many there are."""
    made = decision("d" * 32)
    for number in range(1000):
        elsewhere = made.model_copy(update={"replica": f"r{number}"})
        hub.services.observer.observe(outcome(hub, decision=elsewhere))
    render, rendered, in_a_turn = Tally.figures, 0, [0]

    def count(tally: Tally) -> Figures:
        nonlocal rendered
        rendered, in_a_turn[-1] = rendered + 1, in_a_turn[-1] + 1
        return render(tally)

    async def others() -> None:
        while True:
            in_a_turn.append(0)
            await asyncio.sleep(0)

    monkeypatch.setattr(Tally, "figures", count)
    beside = asyncio.create_task(others())
    found = (await hub.client.get(ANALYTICS, headers=admin(hub))).json()
    beside.cancel()

    assert len(found["since_start"]["by_replica"]) == len(found["recent"]["by_replica"]) == 1000
    assert rendered > 2000
    assert max(in_a_turn) <= AT_ONCE + 1


async def test_minutes_that_are_not_kept_are_refused(hub: TestHub) -> None:
    """With the field's name."""
    answer = await hub.client.get(ANALYTICS, params={"minutes": 1000}, headers=admin(hub))

    assert (answer.status_code, answer.json()["field"]) == (422, "minutes")


async def test_experiments_are_reported_by_arm(hub: TestHub) -> None:
    """A shadow counts for its experiment, and not among the requests."""
    arm = Assignment("cheaper", "cheap")
    hub.services.observer.observe(outcome(hub, assignment=arm))
    hub.services.observer.observe(outcome(hub, assignment=Assignment("cheaper", "control", shadow=True)))
    found = (await hub.client.get(ANALYTICS, headers=admin(hub))).json()
    (trial,) = found["experiments"]

    assert (trial["name"], trial["metric"], trial["stopped"]) == ("cheaper", "met", False)
    assert [(one["arm"], one["n"], one["cost"]) for one in trial["arms"]] == [
        ("control", 1, 1.0),
        ("cheap", 1, 1.0),
    ]
    assert found["since_start"]["total"]["requests"] == 1


async def test_a_recording_is_streamed_as_lines(hub: TestHub) -> None:
    """With the decisions made meanwhile; one at a time."""
    engine, catalogue = hub.services.recorder.engine, Catalogue.of([a_card()], version=1)
    load = hub.services.recorder.table.snapshot(hub.clock())
    wanted = Requirements(
        task="time_series_forecast",
        rows=1,
        data_size=DataSize.SMALL,
        deadline_ns=hub.clock() + 10**9,
    )

    async def decide() -> None:
        await eventually(lambda: engine.tape is not None)
        try:
            engine.decide(wanted, catalogue, load, now_ns=hub.clock(), rng=random.Random(1))
        except HubError as refusal:
            assert refusal.code == "nothing_feasible"  # noqa: PT017 - there is no replica

    body = {"seconds": 60}
    first, second, _ = await asyncio.gather(
        hub.client.post(RECORDING, json=body, headers=admin(hub)),
        hub.client.post(RECORDING, json=body, headers=admin(hub)),
        decide(),
    )
    if first.status_code != 200:
        first, second = second, first
    header, *_, end = lines = list(decode(first.content.splitlines(keepends=True)))

    assert first.headers["content-type"] == "application/jsonl"
    assert isinstance(header, Header)
    assert header.gateway == "gateway"
    assert end == End("0.3 s are over")
    assert [line.choice.refused for line in lines if isinstance(line, Decided)] == ["nothing_feasible"]
    assert (second.status_code, second.json()["code"]) == (409, AlreadyRecording.code)


async def test_a_recording_without_end_is_refused(hub: TestHub) -> None:
    """An hour is the most."""
    answer = await hub.client.post(RECORDING, json={"seconds": 4000}, headers=admin(hub))

    assert (answer.status_code, answer.json()["field"]) == (422, "seconds")
