"""Scorecard S14, the part of the wires: a hub in production talks to nobody in plain."""

from __future__ import annotations

from typing import Any

import pytest

from models.errors import ConfigError
from serve_app.settings import ROOT, load_settings

PRODUCTION = ROOT / "config" / "production.yaml"
PLAIN: dict[str, dict[str, Any]] = {
    "kafka": {"kafka": {"security": "SASL_PLAINTEXT"}},
    "nats": {"nats": {"servers": ["tls://nats-1:4222", "nats://nats-2:4222"]}},
    "redis": {"redis": {"url": "redis://cache:6379/0"}},
    "postgres": {"postgres": {"sslmode": "prefer"}},
}


def test_the_production_file_is_encrypted_throughout() -> None:
    """It loads, and it names a control plane and its database."""
    settings = load_settings(PRODUCTION)

    assert settings.control is not None
    assert settings.postgres is not None


@pytest.mark.parametrize("wire", sorted(PLAIN))
def test_one_plain_connection_refuses_the_start(wire: str) -> None:
    """By its name, also where one server of several is plain."""
    with pytest.raises(ConfigError, match=f"encrypted on its way, and {wire} is not"):
        load_settings(PRODUCTION, **PLAIN[wire])


def test_a_local_hub_may_be_plain() -> None:
    """On loopback there is nobody to listen."""
    assert load_settings().profile == "local"
