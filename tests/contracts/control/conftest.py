"""A control plane of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from argon2 import Parameters, Type

from storage.postgres.config import PostgresConfig
from tests.support.control import ControlHub, control_hub


@pytest.fixture
async def control(postgres_config: PostgresConfig) -> AsyncIterator[ControlHub]:
    """The shipped services on a migrated database."""
    async with control_hub(postgres_config) as hub:
        yield hub


@pytest.fixture(autouse=True)
def quick_passwords(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost nothing, unless the test is about them (`real_passwords`)."""
    if request.node.get_closest_marker("real_passwords"):
        return
    cheap = Parameters(
        type=Type.ID, version=19, salt_len=16, hash_len=32, time_cost=1, memory_cost=64, parallelism=1
    )
    monkeypatch.setattr("deployments.control.auth.passwords.RFC_9106_LOW_MEMORY", cheap)
