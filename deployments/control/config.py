"""What the control plane needs to know. Without secrets: it is pickled into Ray's control store."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from deployments.front.limits import Tiers
from deployments.front.tokens import TokenConfig
from messaging.config import KafkaConfig, NatsConfig
from models.base import Frozen
from models.secret import SecretRef
from storage.postgres.config import PostgresConfig
from storage.redis_store import RedisConfig


class ControlConfig(Frozen):
    """`sealing_key` seals what is secret at rest: 64 hex digits, older keys behind it after commas."""

    postgres: PostgresConfig
    kafka: KafkaConfig
    nats: NatsConfig
    redis: RedisConfig
    tokens: TokenConfig
    tiers: Tiers
    sealing_key: SecretRef
    environment: str = "production"
    replicas: Annotated[int, Field(gt=0)] = 1
    num_cpus: Annotated[float, Field(ge=0)] = 0.1
    max_ongoing_requests: Annotated[int, Field(gt=0)] = 64
    max_body_bytes: Annotated[int, Field(gt=0)] = 1 << 20
    body_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    public_docs: bool = False
