"""Requests generated from the API's own description: whatever is sent, the answer is one it promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
)

from tests.unit.gateway.doubles import SECRET, SECRET_ENV, TestHub, make_hub
from tests.unit.gateway.requests import furnish
from tests.unit.gateway.test_surface import OPERATIONS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
    ignored_auth,
    use_after_free,
]


@pytest.fixture(scope="module")
def hub() -> Iterator[TestHub]:
    """A hub in which alice has something under every address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SECRET_ENV, SECRET)
        yield asyncio.run(_furnished())


@pytest.fixture(scope="module")
def description(hub: TestHub) -> Any:
    """The API as it describes itself."""
    return schemathesis.openapi.from_asgi("/openapi.json", hub.app)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), sorted(OPERATIONS))
def test_keeps_its_own_description(method: str, path: str, description: Any, hub: TestHub) -> None:
    """No 5xx, no undescribed status, type or body; nothing works without a token or after its end."""

    @settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=description[path][method].as_strategy())
    def ask(case: Any) -> None:
        case.call_and_validate(headers=hub.auth(roles=["admin"]), checks=CHECKS)

    ask()


async def _furnished() -> TestHub:
    hub = await make_hub(time.time_ns() // 10**9 * 10**9, public_docs=True)
    await furnish(hub)
    return hub
