"""Settings: `config/hub.yaml`, overlaid by `HUB_*` environment variables, checked as one frozen value.

The rooms never see this type: `serve_app/wiring.py` cuts each room's own config out of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from deployments.front.tokens import TokenConfig
from deployments.pool.config import PoolName
from messaging.config import KafkaConfig, NatsConfig
from models.base import Frozen
from models.card import ModelName
from models.errors import ConfigError
from storage.redis_store import RedisConfig

ROOT: Final = Path(__file__).resolve().parents[1]
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


class HubSettings(BaseSettings):
    """Everything a hub needs to know before it starts. Holds references to secrets, never secrets."""

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
    redis: RedisConfig
    tokens: TokenConfig
    repository: str
    strategies: str
    profiles: str
    tiers: str
    experiments: str = "config/experiments.yaml"
    pools: Annotated[tuple[PoolSettings, ...], Field(min_length=1)]
    local_model_ms: Annotated[float, Field(ge=0)] = 0.0
    gateway_replicas: Annotated[int, Field(gt=0)] = 1
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
