"""Fixtures of the database's contracts."""

from __future__ import annotations

import pytest

from storage.postgres.database import Database
from tests.support.two_tenants import people


@pytest.fixture
async def two_tenants(database: Database) -> Database:
    """Acme and Bolt, a user each."""
    await people(database)
    return database
