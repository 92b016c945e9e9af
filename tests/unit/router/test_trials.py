"""Experiments on the path of a call: arms, shadows, and what is observed of each request."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from deployments.router.observer import Observer
from deployments.router.opening import assemble
from models.answer import Answer
from models.errors import UnknownProfile
from models.metrics import MemoryMeter
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable, ReplicaMeta
from routing.profiles import load_profiles
from routing.trials.analytics import Breakdown
from routing.trials.experiments import load_experiments
from tests.support.eventually import eventually
from tests.unit.router.test_routed_client import CARDS, FixedCatalogue, ScriptedPools, wanted, windows

PROFILES = load_profiles((Path(__file__).parents[3] / "config" / "profiles.yaml").read_text(encoding="utf-8"))
AB = """
experiments:
  - {name: quick-or-cheap, kind: ab, asked: performance_optimized, arms: {
      quick: {profile: performance_optimized, share: 0.5}, cheap: {profile: cost_optimized, share: 0.5}}}
"""
SHADOW = """
experiments:
  - {name: mirror, kind: shadow, asked: performance_optimized, share: 1.0, profile: cost_optimized}
"""


@dataclass
class Tried:
    """A client with an experiment, and what is told of it."""

    yaml: str
    pools: ScriptedPools = field(default_factory=ScriptedPools)

    def __post_init__(self) -> None:
        source, load = FixedCatalogue(Catalogue.of(CARDS, version=7)), LoadTable()
        meta = ReplicaMeta("pool", "cpu", 2, {str(card.key): list(card.warm) for card in CARDS})
        load.replicas_updated("pool", [("r1", meta), ("r2", meta)], now_ns=0)
        experiments = load_experiments(self.yaml, profiles=PROFILES.names)
        self.observer = Observer(experiments, catalogue=lambda: source.catalogue, clock=time.time_ns)
        self.client = assemble(
            engine=Engine(PROFILES),
            source=source,
            pools=self.pools,
            load=load,
            clock=time.time_ns,
            rng=Random(1),
            meter=MemoryMeter(),
            observer=self.observer,
        )

    async def infer(self, unit: str, profile: str = "performance_optimized") -> Answer:
        """One call of a user, and what is counted of it afterwards."""
        try:
            return await self.client.infer(wanted(profile=profile), *windows(2), traceparent="", unit=unit)
        finally:
            await asyncio.sleep(0)

    def counted(self) -> dict[str, int]:
        """Requests by arm of the one experiment."""
        (report,) = self.observer.experiments()
        return {arm.arm: arm.n for arm in report.arms}


async def test_a_user_stays_in_an_arm() -> None:
    """About half of the users get the other profile, each of them every time, and all of it is counted."""
    tried = Tried(AB)
    seen = {
        user: {(await tried.infer(user)).decision.profile for _ in range(2)} for user in map(str, range(60))
    }

    profiles = [next(iter(given)) for given in seen.values() if len(given) == 1]

    assert len(profiles) == 60
    assert 18 <= profiles.count("cost_optimized") <= 42
    assert sum(tried.counted().values()) == 120


async def test_a_shadow_is_called_and_never_answered() -> None:
    """Every request is decided twice; the answer is that of the profile asked for."""
    tried = Tried(SHADOW)
    answer = await tried.infer("user")
    await eventually(lambda: sum(tried.counted().values()) == 2)

    assert answer.decision.profile == "performance_optimized"
    assert tried.counted() == {"live": 1, "shadow": 1}
    assert len(tried.pools.sent) == 2
    assert Breakdown.of(tried.observer.analytics.since_start()).total.requests == 1


async def test_a_refusal_is_observed_too() -> None:
    """A request without a decision counts, under no name that its client made up."""
    tried = Tried(AB)
    with pytest.raises(UnknownProfile):
        await tried.infer("user", profile="made-up")

    seen = Breakdown.of(tried.observer.analytics.since_start())

    assert seen.total.requests == 1
    assert "made-up" not in seen.by_profile
