"""Settings: `config/hub.yaml`, overlaid by `HUB_*` environment variables, checked as one frozen value.

The rooms never see this type: `serve_app/wiring.py` cuts each room's own config out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from deployments.control.config import AuditConfig, AuthConfig, FirstAdmin
from deployments.front.opening import TenancyConfig
from deployments.front.tokens import IssuedTokens, TokenConfig
from deployments.pool.config import PoolName
from deployments.tracker.config import JudgingConfig
from messaging.config import KafkaConfig, NatsConfig
from messaging.principals import ROOMS, Room
from models.base import Frozen
from models.card import ModelName
from models.errors import ConfigError
from models.secret import SecretRef
from routing.evidence.lifecycle import LifecyclePolicy
from storage.postgres.config import PostgresConfig
from storage.redis_store import RedisConfig

ROOT: Final = Path(__file__).resolve().parents[1]
_ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})
DEFAULT_FILE: Final = ROOT / "config" / "hub.yaml"


class HttpSettings(Frozen):
    """Where the hub listens."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(gt=0, lt=65_536)] = 7000


class PoolSettings(Frozen):
    """A pool by name, with the models it holds and how many replicas do; with `max_replicas`, at least."""

    name: PoolName
    models: tuple[ModelName, ...] | Literal["*"] = "*"
    replicas: Annotated[int, Field(gt=0)] = 1
    max_replicas: Annotated[int, Field(gt=0)] | None = None
    slots: Annotated[int, Field(gt=0)] = 2


class RegistrationSettings(Frozen):
    """Models at run time: `artefacts` is a directory that all nodes share, or an object store's URL;
    `signing_key` is resolved by the registry alone, `verify_key` is its public half (`hub models key`). A
    replica keeps them loaded within `most_bytes`; one that is not live is loaded by `copies` replicas of a
    pool, and by up to `most_copies` where it is asked for much.
    """

    artefacts: str
    signing_key: SecretRef
    verify_key: str
    copies: Annotated[int, Field(gt=0)] = 2
    most_copies: Annotated[int, Field(gt=0)] = 4
    most_bytes: Annotated[int, Field(gt=0)] = 1 << 30


class ControlSettings(Frozen):
    """The control plane: tenants, people and access. `sealing_key` seals secrets at rest: `openssl rand -hex
    32`, older keys behind the newest after commas. `first_admin` comes in where there is nobody yet.
    `environment` names the layer of the config between the global one and the tier's.
    """

    sealing_key: SecretRef
    first_admin: FirstAdmin | None = None
    audit: AuditConfig = AuditConfig()
    auth: AuthConfig = AuthConfig()
    retention: str = "config/retention.yaml"
    templates: str = "config/tenant_templates.yaml"
    environment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")] = "production"
    replicas: Annotated[int, Field(gt=0)] = 1


class RoomSecrets(Frozen):
    """The passwords of one room's principal; its name is the contract's (`messaging.principals.ROOMS`)."""

    kafka: SecretRef
    nats: SecretRef | None = None


class HubSettings(BaseSettings):
    """Everything a hub needs to know before it starts. Holds references to secrets, never secrets.

    `principals` gives every room that talks to a broker its own; without them all rooms log in as `kafka` and
    `nats` say, which is the operator's login otherwise.
    """

    model_config = SettingsConfigDict(
        env_prefix="HUB_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    profile: Literal["local", "production"] = "local"
    http: HttpSettings = HttpSettings()
    kafka: KafkaConfig
    nats: NatsConfig
    principals: Mapping[Room, RoomSecrets] = Field(default_factory=dict)
    redis: RedisConfig
    postgres: PostgresConfig | None = None
    control: ControlSettings | None = None
    tokens: TokenConfig
    issuers: tuple[IssuedTokens, ...] = ()
    repository: str
    strategies: str
    profiles: str
    tiers: str
    experiments: str = "config/experiments.yaml"
    registration: RegistrationSettings | None = None
    judging: JudgingConfig = JudgingConfig()
    lifecycle: LifecyclePolicy = LifecyclePolicy()
    pools: Annotated[tuple[PoolSettings, ...], Field(min_length=1)]
    local_model_ms: Annotated[float, Field(ge=0)] = 0.0
    clock_error_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    gateway_replicas: Annotated[int, Field(gt=0)] = 1
    stream_replicas: Annotated[int, Field(gt=0)] = 1
    forecaster_workers: Annotated[int, Field(gt=0)] = 1
    fanout_workers: Annotated[int, Field(gt=0)] = 1

    @classmethod
    def settings_customise_sources(  # noqa: PLR0917 - pydantic-settings' own signature
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the caller says wins over the environment, which wins over the file."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)

    @model_validator(mode="after")
    def _control_has_its_database(self) -> Self:
        if self.control and not self.postgres:
            raise ValueError("control needs postgres: tenants and people live there")
        return self

    @model_validator(mode="after")
    def _production_is_encrypted(self) -> Self:
        open_wires = [name for name, encrypted in self._wires().items() if not encrypted]
        if self.profile == "production" and open_wires:
            raise ValueError(
                f"in production everything is encrypted on its way, and {', '.join(open_wires)} is not: use"
                " security SSL or SASL_SSL, tls://, rediss:// and sslmode verify-full"
            )
        return self

    def _wires(self) -> dict[str, bool]:
        """Whether each connection is encrypted."""
        found = {
            "kafka": self.kafka.security.tls,
            "nats": all(server.startswith("tls://") for server in self.nats.servers),
            "redis": self.redis.url.startswith("rediss://"),
        }
        postgres = self.postgres.sslmode in _ENCRYPTED if self.postgres else True
        return {**found, "postgres": postgres}

    @model_validator(mode="after")
    def _every_room_has_its_principal(self) -> Self:
        missing = [room for room in ROOMS if room not in self.principals]
        if self.principals and missing:
            raise ValueError(f"principals has no {', '.join(missing)}: all rooms have their own, or none")
        for room in self.principals:
            self.kafka_of(room)  # refused here where the connection sends no password, not by each replica
        return self

    def kafka_of(self, room: Room) -> KafkaConfig:
        """Kafka, as this room logs in."""
        secrets = self.principals.get(room)
        return self.kafka.login(ROOMS[room].principal, secrets.kafka) if secrets else self.kafka

    @property
    def tenancy(self) -> TenancyConfig | None:
        """What rooms must know of tenants; None for a hub without a control plane."""
        if self.control is None:
            return None
        issuers = (self.control.auth.tokens, *self.issuers)
        return TenancyConfig(issuers=issuers, environment=self.control.environment)

    def nats_of(self, room: Room) -> NatsConfig:
        """NATS, as this room logs in; in production a server with known holes is refused."""
        nats = self.nats.model_copy(update={"refuse_unpatched": self.profile == "production"})
        secrets = self.principals.get(room)
        return nats.login(ROOMS[room].principal, secrets.nats) if secrets and secrets.nats else nats

    @property
    def replication(self) -> int:
        """Replication factor of the topics."""
        return 3 if self.profile == "production" else 1


def load_settings(file: Path | None = None, **overrides: Any) -> HubSettings:
    """Settings of a file with overrides on top; ConfigError names the field that is wrong."""
    path = file or DEFAULT_FILE
    if not path.is_file():
        raise ConfigError(f"settings file {path} does not exist", field="config")

    class FromFile(HubSettings):
        model_config = SettingsConfigDict(yaml_file=path)

    try:
        return FromFile(**overrides)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise ConfigError(f"settings in {path}: {name}: {first['msg']}", field=name) from error


def resolved(path: str) -> Path:
    """A path of the settings: absolute as it is, relative below the directory that holds `config/`."""
    return (ROOT / path).resolve()


def read_text(path: str) -> str:
    """A configuration file's text; ConfigError names it if it is not there."""
    file = resolved(path)
    if not file.is_file():
        raise ConfigError(f"configuration file {file} does not exist", field=path)
    return file.read_text()
