"""Everything the HTTP API works with, handed in from outside: real in `deployment.py`, doubles in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Annotated, Protocol

from fastapi import Depends
from starlette.requests import Request

from deployments.front.denials import DenialLog
from deployments.front.halts import HaltDesk
from deployments.front.limits import RateLimiter
from deployments.front.metering import UsageMeter
from deployments.front.subscriptions import SubscriptionReader, SubscriptionWriter
from deployments.front.tenant_config.view import TenantConfigView
from deployments.front.tokens import Tokens
from deployments.gateway.backfill import SignalBackfill
from deployments.gateway.decisions import DecisionLog
from deployments.gateway.health import Health
from deployments.gateway.last_good import LastGoodAnswers
from deployments.gateway.markets import Markets
from deployments.gateway.model_desk import ModelDesk
from deployments.gateway.user_events import UserEvents
from deployments.router.observer import Observer
from deployments.router.recorder import Recorder
from models.answer import Router
from models.card import ModelCard
from models.decision import Decision
from models.evidence import ModelEvidence
from models.metrics import Meter
from models.request import Requirements
from models.strategy import Strategy


class CatalogueView(Protocol):
    """This process's copy of the model catalogue; `version` is an offset of `hub.models`."""

    @property
    def version(self) -> int: ...

    @property
    def cards(self) -> Sequence[ModelCard]: ...

    @property
    def evidence(self) -> Mapping[str, ModelEvidence]:
        """What live outcomes say of models, by `name@version`."""
        ...


class DecidingRouter(Router, Protocol):
    """The routed client as the gateway sees it."""

    @property
    def catalogue(self) -> CatalogueView: ...

    def decide(self, requirements: Requirements) -> Decision:
        """The decision alone; nothing is reserved and nothing is called."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the routes and the pipeline use. `clock` is wall time in ns, `monotonic` in seconds, `gateway` the
    name of this replica.

    `public_docs` opens `/docs` and `/openapi.json` without a token, for a local hub.
    """

    tokens: Tokens
    limiter: RateLimiter
    router: DecidingRouter
    markets: Markets
    last_good: LastGoodAnswers
    decisions: DecisionLog
    recorder: Recorder
    observer: Observer
    subscriptions: SubscriptionWriter
    subscribed: SubscriptionReader
    backfill: SignalBackfill
    halts: HaltDesk
    events: UserEvents
    health: Health
    models: ModelDesk
    strategies: Mapping[str, Strategy]
    usage: UsageMeter
    denials: DenialLog
    meter: Meter
    clock: Callable[[], int]
    monotonic: Callable[[], float]
    rng: Random = field(repr=False)
    gateway: str = "gateway"
    tenants: TenantConfigView | None = None
    public_docs: bool = False
    max_body_bytes: int = 32 << 20
    body_timeout_s: float = 10.0


async def services_of(request: Request) -> Services:
    """The services the running app was made with."""
    services: Services = request.app.state.services
    return services


Hub = Annotated[Services, Depends(services_of)]
