"""Each room logs in as itself if the settings say so, and `hub topics acls` prints what the brokers need."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from messaging.principals import PRINCIPALS, ROOMS
from models.errors import ConfigError
from serve_app.cli import app
from serve_app.settings import HubSettings, load_settings

KAFKA = {"bootstrap": "k:1", "security": "SASL_SSL", "username": "op", "password": {"env": "OP"}}
SECRETS = {"kafka": {"env": "K"}, "nats": {"env": "N"}}


def _settings(**overrides: Any) -> HubSettings:
    return load_settings(**{"kafka": KAFKA, **overrides})


def test_without_principals_all_rooms_share_a_login() -> None:
    """As a hub on one machine has it."""
    settings = _settings()
    assert {settings.kafka_of(room).username for room in ROOMS} == {"op"}


def test_a_room_logs_in_as_its_principal() -> None:
    """On both brokers, everything else being the cluster's."""
    settings = _settings(principals=dict.fromkeys(ROOMS, SECRETS))
    kafka, nats = settings.kafka_of("fanout"), settings.nats_of("fanout")

    assert (kafka.username, kafka.password, nats.user) == (
        "hub-fanout",
        settings.principals["fanout"].kafka,
        "hub-fanout",
    )
    assert kafka.bootstrap == settings.kafka.bootstrap
    assert settings.kafka.username == "op"


def test_no_room_is_forgotten() -> None:
    """It would go on with the operator's rights."""
    with pytest.raises(ConfigError, match="principals has no registry"):
        _settings(principals={room: SECRETS for room in ROOMS if room != "registry"})


def test_a_room_that_does_not_exist_is_refused() -> None:
    """By its name."""
    with pytest.raises(ConfigError, match="cellar"):
        _settings(principals={**dict.fromkeys(ROOMS, SECRETS), "cellar": SECRETS})


def test_passwords_need_a_connection_that_sends_them() -> None:
    """Refused before anything is deployed, not by each replica."""
    with pytest.raises(ConfigError, match="sends no `username`"):
        _settings(kafka={"bootstrap": "k:1"}, principals=dict.fromkeys(ROOMS, SECRETS))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("kafka", "--allow-principal User:hub-reader --operation Read --group reader-"),
        ("nats", "accounts {"),
    ],
)
def test_acls_are_printed_in_the_brokers_own_words(form: str, expected: str) -> None:
    """A script for Kafka's tools, a file for nats-server."""
    printed = CliRunner().invoke(app, ["topics", "acls", "--format", form])
    assert printed.exit_code == 0
    assert expected in printed.output


def test_acls_are_printed_as_data() -> None:
    """For tools of one's own: every principal, with its rules of both brokers."""
    printed = json.loads(CliRunner().invoke(app, ["topics", "acls", "--format", "json"]).output)
    assert [one["principal"] for one in printed] == [access.principal for access in PRINCIPALS]
