"""Models that did not answer are asked too, behind everything else, and lie in the log beside the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from messaging.memory import MemoryBus
from messaging.topics import PREDICTIONS, create_topics, partition_of
from models.answer import Answer, InForce
from models.errors import HubError, InferenceFailed, NothingFeasible
from models.evidence import SHADOW_KEY, Shadow
from models.prediction import Prediction
from models.request import Priority, Requirements
from models.strategy import ForecastNeeds, Strategy
from tests.unit.forecaster.scene import BAR_MS, FORECAST, LINEAGE, START_MS, Scene, strategy

MULTIPLIERS = (0.5, 0.6, 0.7, 0.8, 1.0, 1.5, 2.0, 3.0)


@dataclass
class Others:
    """Models to ask; those in `wrong` fail so. `stand_in` answers in place of all."""

    models: Sequence[str]
    wrong: dict[str, HubError] = field(default_factory=dict)
    stand_in: str = ""
    asked: list[Requirements] = field(default_factory=list)

    def beside(self, bar_ms: int, horizon_ms: int) -> Sequence[str]:
        assert (bar_ms, horizon_ms) == (BAR_MS, 60_000)
        return self.models

    async def infer_beside(
        self,
        requirements: Requirements,
        window: NDArray[np.float32],
        context: NDArray[np.float32],
        *,
        traceparent: str,
    ) -> Answer:
        assert len(window) == len(context) == requirements.rows
        assert traceparent.startswith("00-")
        self.asked.append(requirements)
        model = requirements.model or ""
        if model in self.wrong:
            raise self.wrong[model]
        name, _, version = (self.stand_in or model).partition("@")
        lineage = LINEAGE.model_copy(update={"model": name, "version": version})
        made_with = InForce("c9", (MULTIPLIERS,) * requirements.rows)
        return Answer([FORECAST] * requirements.rows, None, lineage, {}, in_force=made_with)  # type: ignore[arg-type]


@asynccontextmanager
async def measured(scene: Scene, others: Others, *strategies: Strategy) -> AsyncIterator[None]:
    """A worker that asks the others, too; killed at the end."""
    await create_topics(MemoryBus(scene.log, "admin"), 1)
    await scene.seed()
    worker, bus = scene.worker("w1", strategies)
    worker.measure(others)
    running = asyncio.create_task(worker.run())
    try:
        await scene.until(lambda: worker.ready)
        await scene.tell(START_MS)
        yield
        assert not running.done(), running.exception()
    finally:
        bus.process.crash()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def shadows(scene: Scene) -> list[Shadow]:
    """What lies beside the predictions of EURUSD."""
    partition = partition_of(b"EURUSD", PREDICTIONS.partitions)
    records = scene.log.partition(PREDICTIONS.name, partition).records
    return [Shadow.from_record(one.value or b"") for one in records if one.key == SHADOW_KEY]


async def bar(scene: Scene, number: int) -> None:
    """Close the next bar, and let everybody be asked who will be."""
    await scene.tick(START_MS + number * BAR_MS - 5_000, 1.1)
    await scene.tell(START_MS + number * BAR_MS)
    await scene.settled(number)


async def test_whoever_did_not_answer_is_asked_for_the_same_moment() -> None:
    """`ridge` answered; the others' forecasts follow with the next bar's record, without a further append."""
    scene, others = Scene(), Others(["ridge@1", "mlp@1", "naive@1"])
    async with measured(scene, others, strategy()):
        await bar(scene, 1)
        await scene.until(lambda: len(others.asked) == 2)
        assert shadows(scene) == []
        await bar(scene, 2)
        await scene.until(lambda: len(shadows(scene)) == 1)

    (shadow,) = shadows(scene)
    assert [trial.model for trial in shadow.trials] == ["mlp@1", "naive@1"]
    assert (shadow.symbol, shadow.bar_ms, shadow.horizon_ms) == ("EURUSD", BAR_MS, 60_000)
    assert shadow.bar_close_ms == START_MS + BAR_MS
    owed = scene.owed()[0]
    assert isinstance(owed, Prediction)
    assert shadow.mid == (owed.reference.bid + owed.reference.ask) / 2
    trial = shadow.trials[0]
    assert (trial.calibration, trial.location, trial.service_us) == ("c", FORECAST.q50, 1)
    assert trial.spread is not None
    assert trial.spread.scale == (FORECAST.q95 - FORECAST.q05) / 2 / MULTIPLIERS[4]
    assert {one.priority for one in others.asked} == {Priority.BULK}


async def test_two_strategies_on_one_moment_ask_once() -> None:
    """The moment is the same, whoever owes a forecast for it."""
    scene, others = Scene(), Others(["mlp@1"])
    second = strategy("beta", needs=ForecastNeeds(max_latency_ms=400))
    async with measured(scene, others, strategy(), second):
        await scene.tick(START_MS + 5_000, 1.1)
        await scene.tell(START_MS + BAR_MS)
        await scene.settled(2)
        await scene.until(lambda: len(others.asked) == 1)

    assert [one.model for one in others.asked] == ["mlp@1"]


async def test_a_model_that_fails_is_recorded_one_that_is_not_to_be_had_is_not() -> None:
    """The first says something of the model; the second that there was no room, or no replica."""
    wrong: dict[str, HubError] = {"bad@1": InferenceFailed("nan"), "busy@1": NothingFeasible("full")}
    scene, others = Scene(), Others(["bad@1", "busy@1", "mlp@1"], wrong)
    async with measured(scene, others, strategy()):
        await bar(scene, 1)
        await scene.until(lambda: len(others.asked) == 3)
        await bar(scene, 2)
        await scene.until(lambda: len(shadows(scene)) == 1)

    assert {trial.model: trial.failed for trial in shadows(scene)[0].trials} == {
        "bad@1": "inference_failed",
        "mlp@1": "",
    }


async def test_an_answer_of_a_smaller_model_is_nobodys_trial() -> None:
    """The ladder may answer with another one than was named."""
    scene, others = Scene(), Others(["mlp@1"], stand_in="naive@1")
    async with measured(scene, others, strategy()):
        await bar(scene, 1)
        await scene.until(lambda: len(others.asked) == 1)
        await bar(scene, 2)
        await scene.until(lambda: len(others.asked) == 2)

    assert shadows(scene) == []


async def test_of_what_came_due_meanwhile_the_newest_is_asked_for() -> None:
    """Bars that close faster than anybody can be asked leave no queue behind."""
    scene, others = Scene(), Others(["mlp@1"])
    async with measured(scene, others, strategy()):
        for number in range(1, 6):
            await bar(scene, number)
        await scene.until(lambda: bool(others.asked))

    dropped = scene.meter.values.get(("hub_shadow_forecasts_total", (("outcome", "dropped"),)), 0)
    assert dropped + len(others.asked) <= 5
    assert dropped >= 1
