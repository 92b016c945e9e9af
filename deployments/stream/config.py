"""What the stream needs: the broker, who may come in, and its bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from deployments.front.limits import Tiers
from deployments.front.opening import AccessConfig, TenancyConfig
from deployments.front.tokens import TokenConfig
from messaging.config import KafkaConfig
from models.base import Frozen
from storage.redis_store import RedisConfig

_Positive = Annotated[float, Field(gt=0)]
_Count = Annotated[int, Field(gt=0)]


class SessionConfig(Frozen):
    """Bounds of one socket. At most `queue_frames` and `queue_bytes` wait for a client, none for longer than
    `send_s`. `beat_s`: how often it is told that it has everything. `recheck_s`: how often its token is
    verified anew. `page`: signals that one read of the log brings when it catches up.
    """

    queue_frames: _Count = 1000
    queue_bytes: _Count = 1 << 20
    send_s: _Positive = 10.0
    beat_s: _Positive = 5.0
    recheck_s: _Positive = 60.0
    page: _Count = 500


class StreamConfig(Frozen):
    """The deployment: `replicas`, each for `max_sockets` at a time. `drain_s`: how long the sockets of an
    ending replica have to close.
    """

    kafka: KafkaConfig
    redis: RedisConfig
    tokens: TokenConfig
    tiers: Tiers
    tenancy: TenancyConfig | None = None
    session: SessionConfig = SessionConfig()
    replicas: _Count = 1
    max_sockets: _Count = 5000
    num_cpus: Annotated[float, Field(ge=0)] = 0.2
    drain_s: _Positive = 5.0

    @property
    def access(self) -> AccessConfig:
        """Who gets in, and how often."""
        return AccessConfig(tokens=self.tokens, tiers=self.tiers, tenancy=self.tenancy)
