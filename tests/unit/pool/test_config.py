"""What a pool may be called."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from deployments.pool.config import PoolConfig


@pytest.mark.parametrize("name", ["local", "ensemble"])
def test_the_names_of_pools_inside_callers_are_taken(name: str) -> None:
    """A ticket to one of them never leaves the process."""
    with pytest.raises(ValidationError, match="inside each caller"):
        PoolConfig(name=name, repository="models")
