"""Every forecast is judged exactly once on real brokers, though the tracker is killed."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import pytest

from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.history import epochs_at
from messaging.ports import EventBus, LogRecord
from messaging.topics import OUTCOMES, PREDICTIONS
from models.events import CLAIM_KEY
from models.evidence import Outcome
from models.metrics import MemoryMeter
from models.prediction import Prediction, ReferencePrice, Skipped
from signals.reader import PredictionRules, Verdict
from tests.e2e.conftest import UpHub
from tests.e2e.test_models import NAME, a_version
from tests.support.eventually import eventually
from tests.support.hub_run import Playback, played
from tests.support.processes import replicas

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(360)]

PLAYBACK = Playback(seconds=24, speed=240)
"""Fast, so that it gets beyond what other tests of the tier have played before: nothing is judged anew."""


class Forecast(NamedTuple):
    """A forecast of the log, by what it is judged by."""

    model: str
    symbol: str
    bar_ms: int
    horizon_ms: int
    close_ms: int


async def test_every_forecast_is_judged_once_though_the_tracker_dies(hub: UpHub, tmp_path: Path) -> None:
    """Held against a second reading of the log that has its own arithmetic; then as people see it.

    A model that came just before is measured beside the others, without having answered anybody.
    """
    added = hub.command("models", "add", str(a_version(tmp_path, "9")))
    assert added.returncode == 0, added.stderr
    await eventually(lambda: version_of(hub, "9")["status"] == "shadow")
    meter = MemoryMeter()
    bus = await open_bus(KafkaConfig(bootstrap=hub.address.kafka), client_id="e2e-evidence", meter=meter)
    try:
        with played(hub, PLAYBACK) as playing:
            before = await judged(bus)
            await eventually(lambda: more_than(bus, before), timeout_s=60)
            for pid in replicas(hub.process.pid, "Tracker"):
                os.kill(pid, signal.SIGKILL)
            assert await asyncio.to_thread(playing.wait, 180) == 0
        await eventually(lambda: agrees(bus), timeout_s=60)
    finally:
        await bus.close()

    said = hub.command("models", "evidence", "naive", "--png", str(tmp_path / "naive.png"))
    assert said.returncode == 0, said.stderr
    assert "outcomes" in said.stdout
    assert (tmp_path / "naive.png").stat().st_size > 1000
    seen = version_of(hub, "9")["observed"]
    assert seen["outcomes"] > 0
    assert seen["answered"] == 0
    hub.command("models", "retire", f"{NAME}@9", "--reason", "other tests have versions of their own")


def version_of(hub: UpHub, version: str) -> dict[str, Any]:
    """What the evidence page says of a version."""
    with hub.client("modeller") as client:
        page = client.call("GET", f"/api/v1/models/{NAME}/evidence")
    return next(one for one in page["versions"] if one["version"] == version)


async def due(bus: EventBus) -> dict[Forecast, float]:
    """What has to be judged, with the log return over the horizon."""
    found: dict[Forecast, float] = {}
    for partition in range(PREDICTIONS.partitions):
        owed = await accepted(bus, partition)
        markets: defaultdict[tuple[str, int], dict[int, float]] = defaultdict(dict)
        in_time = [one for one in owed if came_in_time(one, markets[one.slot.symbol, one.slot.bar_ms])]
        for one in in_time:
            slot, closes = one.slot, markets[one.slot.symbol, one.slot.bar_ms]
            model = f"{one.lineage.model}@{one.lineage.version}"
            forecast = Forecast(model, slot.symbol, slot.bar_ms, slot.horizon_ms, slot.bar_close_ms)
            if then := closes.get(slot.bar_close_ms + slot.horizon_ms):
                found[forecast] = math.log(then / middle(one.reference))
    assert len(found) > 100, "too few to say anything"
    return found


async def accepted(bus: EventBus, partition: int) -> list[Prediction | Skipped]:
    """The valid records of slots that have a price, in log order."""
    first, end = await bus.bounds(PREDICTIONS.name, partition)
    rules = PredictionRules(await epochs_at(bus, PREDICTIONS.name, partition, first))
    readings = [
        rules.take(o.offset, o.key, o.value) for o in await records(bus, PREDICTIONS.name, partition, end)
    ]
    owed = [one.owed for one in readings if one.verdict is Verdict.ACCEPTED and one.owed]
    return [one for one in owed if one.reference]


def came_in_time(one: Prediction | Skipped, closes: dict[int, float]) -> TypeGuard[Prediction]:
    """Whether the log was not beyond what this forecasts; its own close is known from here on.

    At this speed a horizon of a minute is a quarter of a second, and a heavy model may take that long.
    """
    slot, latest = one.slot, max(closes, default=-1)
    if slot.bar_close_ms > latest:
        closes[slot.bar_close_ms] = middle(one.reference)
    horizon_ms = slot.bar_close_ms + slot.horizon_ms
    return isinstance(one, Prediction) and one.spread is not None and max(closes) <= horizon_ms


async def outcomes(bus: EventBus) -> list[Outcome]:
    """The valid outcomes of the log."""
    first, end = await bus.bounds(OUTCOMES.name, 0)
    epochs = await epochs_at(bus, OUTCOMES.name, 0, first)
    found = []
    for record in await records(bus, OUTCOMES.name, 0, end):
        if record.key == CLAIM_KEY:
            epochs.saw_claim(record.offset)
            continue
        outcome = Outcome.from_record(record.value or b"")
        if epochs.valid(epoch=outcome.epoch, offset=record.offset):
            found.append(outcome)
    return found


async def agrees(bus: EventBus) -> bool:
    """Whether the outcomes are what is due by now: each once, with the right return."""
    counted: Counter[Forecast] = Counter()
    answered: dict[Forecast, float] = {}
    written = await outcomes(bus)
    expected = await due(bus)
    for outcome in written:
        for trial in outcome.trials:
            place = outcome.symbol, outcome.bar_ms, outcome.horizon_ms, outcome.bar_close_ms
            counted[Forecast(trial.model, *place)] += 1
            if trial.answered:
                answered[Forecast(trial.model, *place)] = outcome.realised
    assert max(counted.values(), default=0) == 1, counted.most_common(3)
    missing = expected.keys() - answered.keys()
    assert not missing, f"{len(missing)} of {len(expected)} are not judged, such as {next(iter(missing))}"
    wrong = [one for one, value in answered.items() if not same(value, expected.get(one))]
    assert not wrong, wrong[:3]
    return any(not trial.answered for outcome in written for trial in outcome.trials)


async def judged(bus: EventBus) -> int:
    """How many forecasts have an outcome."""
    return sum(len(outcome.trials) for outcome in await outcomes(bus))


async def more_than(bus: EventBus, before: int) -> bool:
    """Whether there are more by now."""
    return await judged(bus) > before


async def records(bus: EventBus, topic: str, partition: int, end: int) -> list[LogRecord]:
    """All records of a partition before `end`."""
    first, _ = await bus.bounds(topic, partition)
    return [record async for batch in bus.read(topic, partition, first, end) for record in batch]


def same(one: float, other: float | None) -> bool:
    """Whether both are the same return."""
    return other is not None and math.isclose(one, other, abs_tol=1e-12)


def middle(reference: ReferencePrice | None) -> float:
    """The price at a close."""
    assert reference is not None
    return (reference.bid + reference.ask) / 2
