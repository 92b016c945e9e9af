"""What the control plane needs to know. Without secrets: it is pickled into Ray's control store."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from deployments.front.limits import Tiers
from deployments.front.tenant_config.templates import Templates
from deployments.front.tokens import HubTokens, IssuedTokens, TokenConfig
from messaging.config import KafkaConfig, NatsConfig
from models.base import Frozen
from models.people import Login
from models.retention import RetentionPolicy
from models.secret import SecretRef
from storage.postgres.config import PostgresConfig
from storage.redis_store import RedisConfig


class AuditConfig(Frozen):
    """`key` signs how far the audit logs have come, every `heads_every_s`: 64 hex digits, all older keys
    behind it after commas. `vault` is a directory or an object store that gets them beside the broker.
    """

    key: SecretRef | None = None
    vault: str | None = None
    heads_every_s: Annotated[float, Field(gt=0)] = 60.0


class FirstAdmin(Frozen):
    """Who runs a hub that nobody runs yet. The password is read when the hub starts for the first time."""

    login: Login = "admin"
    password: SecretRef


class AuthConfig(Frozen):
    """How people come in. An access token lives for `access_s`, a session for `session_days` from its login.
    A signing key is announced `overlap_s` before it signs, and followed by another after `key_days`: who
    keeps copies of the key set (`/.well-known/jwks.json`) must ask for it anew more often than that overlap.
    """

    tokens: HubTokens = HubTokens()
    access_s: Annotated[int, Field(gt=0, le=900)] = 300
    session_days: Annotated[float, Field(gt=0, le=366)] = 30
    overlap_s: Annotated[float, Field(ge=0)] = 60.0
    key_days: Annotated[float, Field(gt=0)] = 30


class ControlConfig(Frozen):
    """`sealing_key` seals what is secret at rest: 64 hex digits, older keys behind it after commas. Without a
    policy of `retention` no user data is dropped by age, and no rule keeps any from being erased.
    """

    postgres: PostgresConfig
    kafka: KafkaConfig
    nats: NatsConfig
    redis: RedisConfig
    tokens: TokenConfig
    issuers: tuple[IssuedTokens, ...] = ()
    auth: AuthConfig = AuthConfig()
    tiers: Tiers
    sealing_key: SecretRef
    first_admin: FirstAdmin | None = None
    audit: AuditConfig = AuditConfig()
    retention: RetentionPolicy | None = None
    templates: Templates = Templates()
    environment: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")] = "production"
    replicas: Annotated[int, Field(gt=0)] = 1
    num_cpus: Annotated[float, Field(ge=0)] = 0.1
    max_ongoing_requests: Annotated[int, Field(gt=0)] = 64
    max_body_bytes: Annotated[int, Field(gt=0)] = 1 << 20
    body_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    public_docs: bool = False
