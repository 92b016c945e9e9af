"""Which Kafka a command means that was told little."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from messaging.config import Security
from models.errors import BadValue
from serve_app.broker_here import broker_here
from serve_app.runfile import RunningHub, remember
from serve_app.settings import DEFAULT_FILE

LOGIN = {
    "bootstrap": "kafka-9:9093",
    "security": "SASL_SSL",
    "username": "hub-auditor",
    "password": {"env": "AUDITOR_PASSWORD"},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings whose Kafka asks for a login."""
    file = tmp_path / "audit.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(DEFAULT_FILE.read_text()), "kafka": LOGIN}))
    return file


@pytest.mark.parametrize("bundled", [True, False])
def test_it_is_that_of_the_bundled_hub_that_runs_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, bundled: bool
) -> None:
    """And where there is none, that of the settings."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HUB_KAFKA__BOOTSTRAP", "kafka-1:9092")
    remember(RunningHub(url="http://x", kafka="127.0.0.1:1234", nats="n", redis="r", bundled=bundled))

    assert broker_here().bootstrap == ("127.0.0.1:1234" if bundled else "kafka-1:9092")


def test_a_settings_file_brings_its_login(config: Path) -> None:
    """To its own broker, or to the address that was given."""
    named, elsewhere = broker_here(config=config), broker_here("kafka-2:9093", config)

    assert (named.bootstrap, elsewhere.bootstrap) == ("kafka-9:9093", "kafka-2:9093")
    assert {named.username, elsewhere.username} == {"hub-auditor"}
    assert elsewhere.security is Security.SASL_SSL


def test_an_address_alone_is_asked_without_a_login() -> None:
    """Whatever the settings of this directory say."""
    assert broker_here("kafka-2:9092").security is Security.PLAINTEXT


def test_what_is_no_address_is_named() -> None:
    """With what was expected."""
    with pytest.raises(BadValue, match="expected host:port"):
        broker_here("kafka-2")
