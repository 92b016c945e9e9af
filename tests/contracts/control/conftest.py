"""A control plane of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from storage.postgres.config import PostgresConfig
from tests.support.control import ControlHub, control_hub


@pytest.fixture
async def control(postgres_config: PostgresConfig) -> AsyncIterator[ControlHub]:
    """The shipped services on a migrated database."""
    async with control_hub(postgres_config) as hub:
        yield hub
