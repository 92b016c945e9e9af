"""Which Kafka a command means when it is told little."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from messaging.config import KafkaConfig
from models.errors import BadValue
from serve_app.runfile import recall, run_file
from serve_app.settings import load_settings


def broker_here(address: str | None = None, config: Path | None = None) -> KafkaConfig:
    """The broker at this address; with a settings file the one that it names, or this address with its login.

    Without either that of the bundled hub that runs here, else that of the usual settings. BadValue for what
    is no address.
    """
    if address is not None:
        return _at(address, config)
    if config is None and run_file().is_file() and (running := recall()).bundled:
        return KafkaConfig.tansu(running.kafka)  # any broker takes what this one needs
    return load_settings(config).kafka


def _at(address: str, config: Path | None) -> KafkaConfig:
    login = load_settings(config).kafka.model_dump() if config else {}
    try:
        return KafkaConfig.model_validate({**login, "bootstrap": address})
    except ValidationError as error:
        raise BadValue(f"--kafka was {address!r}; expected host:port[,host:port]", field="--kafka") from error
