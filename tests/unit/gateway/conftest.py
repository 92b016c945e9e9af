"""The hub under test, made anew for each test."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from tests.unit.gateway.doubles import SECRET, SECRET_ENV, TestHub, make_hub


@pytest.fixture(autouse=True)
def token_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret that tokens are signed with, where the configuration says it is."""
    monkeypatch.setenv(SECRET_ENV, SECRET)


@pytest.fixture
async def hub() -> AsyncIterator[TestHub]:
    """A hub on doubles. Its clock starts now, because tokens are checked against the real one."""
    made = await make_hub(time.time_ns() // 10**9 * 10**9)
    async with made.client:
        yield made
    await made.bus.close()
