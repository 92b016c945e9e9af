"""The secret of local tokens."""

from __future__ import annotations

import pytest

from tests.unit.gateway.doubles import SECRET, SECRET_ENV


@pytest.fixture(autouse=True)
def token_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the configuration says it is."""
    monkeypatch.setenv(SECRET_ENV, SECRET)
