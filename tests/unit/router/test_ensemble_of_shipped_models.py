"""An ensemble of the models of the repository: what it says is what they say, weighted; nothing scripted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from random import Random

import numpy as np
import pytest

from deployments.registry.ensembles import composed
from deployments.router.config import LocalConfig
from deployments.router.local_pool import LocalPool
from deployments.router.opening import assemble
from deployments.router.routed_client import RoutedClient
from deployments.router.routed_pools import RoutedPools
from inference.check import load_cards
from models.answer import Answer
from models.card import ModelCard
from models.metrics import MemoryMeter
from models.request import Requirements
from models.task import CONTEXT_FEATURES, TIME_SERIES_FORECAST, WINDOW, DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable
from routing.profiles import load_profiles
from tests.support.cards import an_ensemble
from tests.unit.router.test_local_pool import REPOSITORY
from tests.unit.router.test_outbox import FakePools
from tests.unit.router.test_routed_client import PROFILES, FixedCatalogue

ROWS = 5


async def answers(client: RoutedClient, *models: str) -> Mapping[str, Answer]:
    """What each says of the same windows, by name."""
    rng = np.random.default_rng(1)
    window = rng.normal(0, 5e-5, (ROWS, WINDOW)).astype(np.float32)
    context = rng.normal(0, 0.1, (ROWS, len(CONTEXT_FEATURES))).astype(np.float32)
    found = {}
    for model in models:
        asked = Requirements(
            task=TIME_SERIES_FORECAST.name,
            rows=ROWS,
            data_size=DataSize.SMALL,
            deadline_ns=time.time_ns() + 5_000_000_000,
            model=model,
        )
        found[model] = await client.infer(asked, window, context, traceparent="")
    return found


async def test_is_the_weighted_mean_of_what_its_members_say() -> None:
    """Every live model that this process holds, weighted by the losses on their cards."""
    cards: list[ModelCard] = [*load_cards(REPOSITORY).cards]
    cards.append(composed(an_ensemble(), cards))
    load, meter = LoadTable(), MemoryMeter()
    local = LocalPool(
        LocalConfig(repository=str(REPOSITORY), max_ms=1e3),
        load,
        clock=time.time_ns,
        rng=Random(1),
        meter=meter,
    )
    await local.open()
    client = assemble(
        engine=Engine(load_profiles(PROFILES.read_text(encoding="utf-8"))),
        pools=RoutedPools(FakePools(), local),
        source=FixedCatalogue(Catalogue.of(cards, version=1)),
        load=load,
        clock=time.time_ns,
        rng=Random(1),
        meter=meter,
    )
    blend = (await answers(client, "blend@1"))["blend@1"]
    weights = blend.lineage.members
    alone = await answers(client, *weights)
    local.close()

    live = {
        str(card.key): card.evidence_for("*") for card in cards if card.status == "live" and card.evidence
    }
    assert weights.keys() == live.keys()
    assert len(weights) > 2
    losses = {name: evidence.interval_score.value for name, evidence in live.items()}
    total = sum(1 / loss for loss in losses.values())
    assert weights == pytest.approx({name: 1 / loss / total for name, loss in losses.items()})
    for row, one in enumerate(blend.forecasts):
        for field in ("q05", "q50", "q95", "prob_up"):
            said = sum(weights[name] * getattr(alone[name].forecasts[row], field) for name in weights)
            assert getattr(one, field) == pytest.approx(said, rel=1e-6, abs=1e-12)
