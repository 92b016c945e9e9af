"""Registry, pool and routed client as shipped, with the repository's models and a Kafka-protocol broker."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import pytest
from ray import serve
from ray.serve import RunTarget

from deployments.pool.config import PoolConfig
from deployments.pool.deployment import build_pool
from deployments.registry.config import RegistryConfig
from deployments.registry.deployment import build_registry
from deployments.router.config import RouterConfig
from deployments.router.names import pool_app
from deployments.router.opening import Routing
from inference.cards import CARD_FILE, read_card
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.topics import EVIDENCE, MODELS, create_topics
from models.answer import Answer
from models.card import ModelCard
from models.errors import NoModelMatches
from models.metrics import MemoryMeter
from models.request import Requirements
from models.task import CONTEXT_FEATURES, TIME_SERIES_FORECAST, WINDOW, DataSize
from tests.serve.client import PROFILES
from tests.support.eventually import eventually

pytestmark = [pytest.mark.serve, pytest.mark.tansu, pytest.mark.slow, pytest.mark.timeout(300)]

REPOSITORY: Final = Path(__file__).parents[2] / "model_repository"
CARDS: Final = {
    str(card.key): card for card in (read_card(path.parent) for path in REPOSITORY.glob(f"*/*/{CARD_FILE}"))
}


@pytest.fixture
async def routing(ray_runtime: None, tansu_bootstrap: str) -> AsyncIterator[Routing]:
    """A registry, a pool of all models, and a routed client in the test's own process."""
    kafka = KafkaConfig.tansu(tansu_bootstrap)
    bus = await open_bus(kafka, client_id="test")
    await create_topics(bus, 1, [MODELS, EVIDENCE])
    real = PoolConfig(name="real", repository=str(REPOSITORY), replicas=1)
    registry = RegistryConfig(repository=str(REPOSITORY), kafka=kafka)
    serve.run_many(
        [
            RunTarget(build_pool(real), name=pool_app("real"), route_prefix=None),
            RunTarget(build_registry(registry), name="registry", route_prefix=None),
        ]
    )
    routing = Routing(
        RouterConfig(
            pools=("real",),
            profiles=PROFILES.read_text(encoding="utf-8"),
            by_reference_from_bytes=100_000,
        ),
        bus,
        room="test",
        clock=time.time_ns,
        rng=Random(3),
        meter=MemoryMeter(),
    )
    routing.open()
    yield routing
    await routing.close()
    await bus.close()
    serve.delete(pool_app("real"))
    serve.delete("registry", _blocking=False)


async def ask(routing: Routing, *, rows: int = 2, **requirements: Any) -> Answer:
    """Forecasts for made-up windows of a real size."""
    rng = np.random.default_rng(rows)
    wanted = Requirements(
        task=TIME_SERIES_FORECAST.name,
        rows=rows,
        data_size=DataSize.of_rows(rows),
        deadline_ns=time.time_ns() + 60_000_000_000,
        **requirements,
    )
    window = rng.normal(0, 5e-5, (rows, WINDOW)).astype(np.float32)
    context = rng.uniform(0.0, 1e-4, (rows, len(CONTEXT_FEATURES))).astype(np.float32)
    return await routing.client.infer(wanted, window, context, traceparent="")


async def test_repository_to_answer(routing: Routing) -> None:
    """The registry publishes what passed, the pool answers with it, and goes on when the registry is gone."""
    await eventually(routing.client.ready, timeout_s=90)
    await eventually(lambda: set(routing.tail.catalogue.keys) == set(CARDS), timeout_s=90)
    status = await serve.get_app_handle("registry").status.remote()
    assert (set(status["models"]), status["refused"]) == (set(CARDS), {})

    answer = await ask(routing, min_accuracy=0.9)
    card = CARDS[str(answer.decision.chosen)]
    assert answer.lineage.artifact_sha256 == card.sha256
    assert answer.decision.promise.coverage_lower >= 0.9
    assert [forecast.level for forecast in answer.forecasts] == [answer.decision.promise.interval_level] * 2
    assert all(forecast.lower < forecast.q50 < forecast.upper for forecast in answer.forecasts)

    for name in CARDS:
        await _answers_alone(routing, CARDS[name])
    with pytest.raises(NoModelMatches):
        await ask(routing, model="unheard-of")

    serve.delete("registry")
    again = await ask(routing, rows=300)
    assert len(again.forecasts) == 300


async def _answers_alone(routing: Routing, card: ModelCard) -> None:
    """A model that is asked for by name answers, by gRPC and by reference."""
    for rows in (1, 200):
        answer = await ask(routing, rows=rows, model=card.name)

        assert (answer.lineage.model, len(answer.forecasts)) == (card.name, rows)
