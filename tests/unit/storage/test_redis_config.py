"""Redis settings that would leak a secret or miss the server are refused at load."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from storage.redis_store import RedisConfig


@pytest.mark.parametrize("url", ["redis://user:pass@host:6379/0", "http://host", "host:6379"])
def test_refuses_credentials_and_other_schemes_in_the_url(url: str) -> None:
    """The error names the field."""
    with pytest.raises(ValidationError, match="url"):
        RedisConfig(url=url)


def test_rediss_means_tls() -> None:
    """The scheme alone decides."""
    assert RedisConfig(url="rediss://host:6380/0").tls
    assert not RedisConfig(url="redis://host:6379/0").tls
