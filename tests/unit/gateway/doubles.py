"""What the API is tested with: the shipped memory bus, feed and store, a clock, and a scripted router."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray

from deployments.front.denials import DenialLog
from deployments.front.halts import HaltDesk
from deployments.front.limits import RateLimiter, Tiers, load_tiers
from deployments.front.metering import UsageMeter
from deployments.front.subscriptions import SubscriptionReader, SubscriptionWriter
from deployments.front.tokens import LocalTokens, TokenVerifier, mint
from deployments.front.user_signals import UserSignals
from deployments.gateway.app import create_app
from deployments.gateway.backfill import SignalBackfill
from deployments.gateway.decisions import DecisionLog
from deployments.gateway.health import Health, Readiness
from deployments.gateway.last_good import LastGoodAnswers
from deployments.gateway.markets import Markets
from deployments.gateway.services import Services
from deployments.gateway.user_events import UserEvents
from deployments.router.observer import Observer
from deployments.router.recorder import Recorder
from messaging.event_marks import EventMarks
from messaging.marks import SignalMarks
from messaging.memory import MemoryBroadcast, MemoryBus, MemoryFeed, MemoryLog, MemoryMarket, Process
from messaging.publisher import Publisher
from messaging.topics import create_topics
from models.answer import Answer
from models.card import Bounded, Calibration, Evidence, ModelCard, ModelContract, ModelKey, ModelStatus
from models.decision import Decision, Promise
from models.errors import HubError
from models.evidence import ModelEvidence
from models.forecast import Forecast
from models.ids import random_id
from models.lifecycle import Move, NewModel
from models.market import Bar
from models.metrics import MemoryMeter
from models.prediction import Lineage
from models.principal import Principal, Tier
from models.request import Requirements
from models.secret import SecretRef
from models.strategy import Strategy
from models.task import CONTEXT_FEATURES, WINDOW
from routing.catalogue import Catalogue as RoutingCatalogue
from routing.load import LoadTable
from routing.trials.experiments import load_experiments
from storage.memory import MemoryFastStore
from storage.ports import FastStore
from tests.support.known_tenants import KnownTenants

SECRET = "kGq8yTz2Vw5RmX1cLh7NbP4sDf9JaE6u0Qo3"
SECRET_ENV = "HUB_TEST_TOKEN_SECRET"
TOKENS = LocalTokens(secret=SecretRef(env=SECRET_ENV))
PROFILES = Path(__file__).parents[3] / "config" / "profiles.yaml"
STRATEGY = Strategy(
    name="momentum", version="1", symbols=("EURUSD", "NZDUSD"), bar_ms=10_000, horizon_ms=60_000
)
TIERS = """
tiers:
  free: {tenant: 1000/hour, user: 100/minute, sockets: 5}
  pro: {tenant: 100000/hour, user: 100000/minute, sockets: 50}
  enterprise: {tenant: 100000/hour, user: 100000/minute, sockets: 500}
  service: {tenant: 1000000/hour, user: 1000000/minute, sockets: 500}
"""
EXPERIMENTS = """
experiments:
  - name: cheaper
    kind: ab
    asked: balanced
    arms:
      control: {profile: balanced, share: 0.5}
      cheap: {profile: cost_optimized, share: 0.5}
"""
FORECAST = Forecast(
    q05=-1e-4, q50=1e-5, q95=2e-4, lower=-1e-4, upper=2e-4, level=0.9, prob_up=0.52, in_distribution=True
)


class Clock:
    """Wall time that moves when told, in nanoseconds when called."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns / 1e9

    def move(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


@dataclass
class Catalogue:
    """A catalogue as the routes see it."""

    version: int
    cards: Sequence[ModelCard]
    evidence: Mapping[str, ModelEvidence] = field(default_factory=dict)


@dataclass
class ScriptedDesk:
    """Says yes to every change of the catalogue, or the error it was given; keeps what it was asked."""

    fail: HubError | None = None
    asked: list[tuple[NewModel | Move, str]] = field(default_factory=list)

    async def register(self, model: NewModel, *, by: str) -> ModelCard:
        self.asked.append((model, by))
        if self.fail:
            raise self.fail
        return model.card

    async def move(self, move: Move, *, by: str) -> int:
        self.asked.append((move, by))
        if self.fail:
            raise self.fail
        return 8


@dataclass
class ScriptedRouter:
    """Answers every call with one forecast a row, or with the error it was given; keeps what it was asked."""

    clock: Clock
    rng: random.Random
    catalogue: Catalogue
    fail: HubError | None = None
    asked: list[Requirements] = field(default_factory=list)
    windows: list[NDArray[np.float32]] = field(default_factory=list)

    def decide(self, requirements: Requirements) -> Decision:
        self.asked.append(requirements)
        if self.fail:
            raise self.fail
        return decision(random_id(self.rng), profile=requirements.profile, now_ns=self.clock())

    async def infer(
        self,
        requirements: Requirements,
        window: NDArray[np.float32],
        context: NDArray[np.float32],
        *,
        traceparent: str,
        unit: str = "",
    ) -> Answer:
        assert context.shape == (len(window), len(CONTEXT_FEATURES))
        assert traceparent.startswith("00-")
        chosen = self.decide(requirements)
        self.windows.append(window)
        return Answer(
            [FORECAST] * len(window),
            chosen,
            lineage(chosen),
            {"decided": self.clock(), "inferred": self.clock()},
        )


def decision(decision_id: str, *, profile: str = "balanced", now_ns: int = 1) -> Decision:
    """A decision for the one model of the catalogue."""
    return Decision(
        decision_id=decision_id,
        decided_ns=now_ns,
        profile=profile,
        config_id="c",
        catalogue_version=7,
        evidence_cursor=-1,
        seed=1,
        attempt=1,
        budget_ms=100.0,
        candidates=1,
        filters=(),
        shortlist=(),
        chosen=ModelKey(name="ridge", version="1"),
        pool="light",
        replica="r1",
        promise=Promise(
            expected_ms=1,
            quantile_ms=2,
            p_meet=0.99,
            interval_level=0.9,
            coverage_lower=0.9,
            skill_lower=0.01,
        ),
        reason="least expected completion",
    )


def lineage(made_by: Decision) -> Lineage:
    """Where an answer of that decision came from."""
    return Lineage(
        model=made_by.chosen.name,
        version=made_by.chosen.version,
        artifact_sha256="0" * 64,
        calibration="1",
        replica=made_by.replica,
        decision_id=made_by.decision_id,
        attempts=1,
        inference_us=500,
        queue_us=10,
        degradation=made_by.degradation,
    )


def card(name: str = "ridge", version: str = "1") -> ModelCard:
    """A card with made-up evidence."""
    one = Bounded(value=0.9, lower=0.89, upper=0.91, n=1000)
    return ModelCard(
        name=name,
        version=version,
        task="time_series_forecast",
        family="linear",
        description="a test's model",
        status=ModelStatus.LIVE,
        sha256="0" * 64,
        contract=ModelContract(
            bar_ms=10_000, horizon_ms=60_000, window_tail=64, context=CONTEXT_FEATURES, instruments=("*",)
        ),
        cost=1.0,
        warm=(),
        calibration=Calibration(version="1", n=1000, multipliers={"0.90": 1.6}),
        evidence=(
            Evidence(
                instrument="*",
                period_from="2014-05-01",
                period_to="2014-05-09",
                n=1000,
                coverage={"0.90": one},
                interval_score=one,
                skill=one,
                pinball_skill=one,
                direction_accuracy=one,
            ),
        ),
    )


@dataclass
class TestHub:
    """The app on doubles, and a client that calls it over ASGI."""

    __test__ = False

    app: FastAPI
    client: httpx2.AsyncClient
    services: Services
    router: ScriptedRouter
    log: MemoryLog
    bus: MemoryBus
    feed: MemoryFeed
    market: MemoryMarket
    publisher: Publisher
    meter: MemoryMeter
    clock: Clock

    def token(self, user_id: str = "alice", tenant: str = "acme", *, ttl_s: int = 600, **facts: Any) -> str:
        """A good token."""
        return mint(
            principal(user_id, tenant, now_ns=self.clock(), **facts),
            TOKENS,
            now_s=self.clock() // 10**9,
            ttl_s=ttl_s,
        )

    def auth(self, user_id: str = "alice", tenant: str = "acme", **facts: Any) -> dict[str, str]:
        """Headers of a caller."""
        return {"Authorization": f"Bearer {self.token(user_id, tenant, **facts)}"}


def principal(
    user_id: str = "alice",
    tenant: str = "acme",
    *,
    tier: Tier = Tier.PRO,
    roles: Sequence[str] = ("tenant:trader",),
    entitled_until_ns: int | None = None,
    now_ns: int = 0,
) -> Principal:
    """A principal, entitled for another day unless told otherwise."""
    until_ns = now_ns + 86_400 * 10**9 if entitled_until_ns is None else entitled_until_ns
    return Principal(
        user_id=user_id,
        tenant_id=tenant,
        tier=tier,
        roles=frozenset(roles),
        entitled_until_ns=until_ns // 10**9 * 10**9,
    )


async def make_hub(
    now_ns: int, *, tiers: Tiers | None = None, store: FastStore | None = None, **options: Any
) -> TestHub:
    """A hub on the memory bus; `options` go to `Services`."""
    rng, clock, meter = random.Random(7), Clock(now_ns), MemoryMeter()
    log = MemoryLog(random.Random(7), clock=clock)
    bus = MemoryBus(log, "gateway")
    market, process = MemoryMarket(random.Random(7)), Process("gateway")
    feed = MemoryFeed(market, process)
    await create_topics(bus, replication=1)
    store = store or MemoryFastStore(clock)
    router = ScriptedRouter(clock, rng, Catalogue(7, (card("naive"), card("ridge", "1"), card("ridge", "2"))))
    publisher, marks = await Publisher.open(bus, name="gateway", meter=meter), EventMarks(bus)
    settings: dict[str, Any] = {
        "tokens": TokenVerifier(TOKENS),
        "limiter": RateLimiter(
            tiers or load_tiers(TIERS), shared=store, local=MemoryFastStore(clock), gateways=2
        ),
        "router": router,
        "markets": Markets(feed, [STRATEGY]),
        "last_good": LastGoodAnswers(store, clock),
        "decisions": DecisionLog(store=store, bus=bus, meter=meter),
        "halts": HaltDesk(bus, MemoryBroadcast(market, process)),
        "recorder": Recorder(PROFILES.read_text(), LoadTable(), clock=clock, longest_s=0.3),
        "observer": Observer(
            load_experiments(EXPERIMENTS, profiles=("balanced", "cost_optimized")),
            catalogue=lambda: RoutingCatalogue.of(router.catalogue.cards, version=7),
            clock=clock,
        ),
        "subscriptions": SubscriptionWriter(bus),
        "subscribed": SubscriptionReader(bus),
        "backfill": SignalBackfill(bus, UserSignals(bus, SignalMarks(bus))),
        "events": UserEvents(bus, publisher, marks, clock=clock, rng=rng, meter=meter),
        "health": Health(bus=bus, readiness=Readiness(lambda: True, lambda: True), probes={}),
        "models": ScriptedDesk(),
        "strategies": {STRATEGY.ref: STRATEGY},
        "tenants": known_tenants().view,
        "usage": UsageMeter(bus, name="gateway", clock=clock, rng=random.Random(9), meter=meter),
        "denials": DenialLog(
            bus, name="gateway", clock=clock, monotonic=clock.monotonic, rng=random.Random(8), meter=meter
        ),
        "meter": meter,
        "clock": clock,
        "monotonic": clock.monotonic,
        "rng": rng,
        **options,
    }
    services = Services(**settings)
    app = create_app(services)
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    client = httpx2.AsyncClient(transport=transport, base_url="http://hub")
    return TestHub(app, client, services, router, log, bus, feed, market, publisher, meter, clock)


def known_tenants() -> KnownTenants:
    """Two tenants; acme's trader alice has a layer of her own."""
    known = KnownTenants(load_tiers(TIERS))
    secret = {"secret": True, "set": True}
    known.tenant("acme", config={"risk.scale": 0.5, "mt5.password": secret}, config_version=3)
    known.tenant("rival")
    known.user("acme", "alice", {"risk.scale": 0.2}, version=2)
    return known


async def put_bars(feed: MemoryFeed, *, count: int = WINDOW + 1, symbol: str = "EURUSD") -> None:
    """Consecutive bars of a gently moving price."""
    for number in range(count):
        price = 1.1 + 0.0001 * (number % 7)
        bar = Bar(symbol, 10_000, (number + 1) * 10_000, price, price, price, price, 0.0001, 3)
        await feed.put_bar(bar, after=None)


def inputs(rows: int = 1) -> dict[str, list[list[float]]]:
    """Valid inputs as JSON."""
    return {"window": [[0.0] * WINDOW] * rows, "context": [[0.0] * len(CONTEXT_FEATURES)] * rows}
