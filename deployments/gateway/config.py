"""What the gateway needs to know. Frozen and without secrets: it is pickled into Ray's control store."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from deployments.front.limits import Tiers
from deployments.front.opening import AccessConfig, TenancyConfig
from deployments.front.tokens import TokenConfig
from deployments.router.config import RouterConfig
from messaging.config import KafkaConfig, NatsConfig
from models.base import Frozen
from models.strategy import Strategy
from storage.redis_store import RedisConfig


class GatewayConfig(Frozen):
    """`strategies` decide what may be subscribed to and for which symbols the hub keeps bars.

    A replica takes `max_ongoing_requests` at a time, and as many again wait at the proxy; more are refused.
    `clock_error_ns` is what signals allow for, to be held against the kernel's word. `public_docs` opens
    `/docs` and `/openapi.json` to everybody: for a local hub.
    """

    router: RouterConfig
    kafka: KafkaConfig
    nats: NatsConfig
    redis: RedisConfig
    tokens: TokenConfig
    tiers: Tiers
    tenancy: TenancyConfig | None = None
    strategies: tuple[Strategy, ...]
    clock_error_ns: Annotated[int, Field(ge=0)] = 0
    replicas: Annotated[int, Field(gt=0)] = 1
    num_cpus: Annotated[float, Field(ge=0)] = 0.2
    max_ongoing_requests: Annotated[int, Field(gt=0)] = 256
    max_body_bytes: Annotated[int, Field(gt=0)] = 32 << 20
    body_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    public_docs: bool = False

    @property
    def access(self) -> AccessConfig:
        """Who gets in, and how often."""
        return AccessConfig(tokens=self.tokens, tiers=self.tiers, tenancy=self.tenancy)
