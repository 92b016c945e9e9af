"""What the API looks like from outside: its routes, its description, and errors that no route raised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from deployments.front.problems import MEDIA_TYPE
from tests.unit.gateway.doubles import TestHub, make_hub
from tests.unit.gateway.openapi import GOLDEN, description

OPERATIONS = {
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/health"),
    ("GET", "/api/health/kafka/topics"),
    ("POST", "/api/v1/route"),
    ("POST", "/api/v1/infer"),
    ("GET", "/api/v1/models"),
    ("GET", "/api/v1/models/{name}"),
    ("GET", "/api/v1/models/{name}/evidence"),
    ("GET", "/api/v1/models/{name}/{version}"),
    ("POST", "/api/v1/models"),
    ("POST", "/api/v1/models/{name}/{version}/promote"),
    ("POST", "/api/v1/models/{name}/rollback"),
    ("POST", "/api/v1/models/{name}/{version}/retire"),
    ("GET", "/api/v1/decisions/{decision_id}"),
    ("GET", "/api/v1/routing/analytics"),
    ("POST", "/api/v1/routing/recording"),
    ("GET", "/api/v1/subscriptions"),
    ("GET", "/api/v1/subscriptions/{strategy}/{symbol}"),
    ("PUT", "/api/v1/subscriptions/{strategy}/{symbol}"),
    ("DELETE", "/api/v1/subscriptions/{strategy}/{symbol}"),
    ("GET", "/api/v1/signals"),
    ("GET", "/api/v1/signals/{delivery_id}/explain"),
    ("GET", "/api/v1/halts"),
    ("PUT", "/api/v1/halts/{scope}/{halted}"),
    ("DELETE", "/api/v1/halts/{scope}/{halted}"),
    ("POST", "/api/v1/events/{data_type}"),
    ("GET", "/api/v1/events/{data_type}"),
    ("GET", "/api/config/messaging/nats/subjects"),
    ("GET", "/api/config/messaging/kafka/topics"),
    ("GET", "/api/config/messaging/kafka/consumer-groups"),
    ("GET", "/config/{tenant_id}"),
}


async def test_the_description_is_the_golden_one() -> None:
    """A change of the API shows here; `python -m tests.unit.gateway.openapi` accepts it."""
    assert await description() == GOLDEN.read_text()


async def test_the_routes_are_those_the_tests_know() -> None:
    """A new operation must be added to the matrices of the security tests."""
    hub = await make_hub(0, public_docs=True)
    described = {
        (method.upper(), path)
        for path, operations in hub.app.openapi()["paths"].items()
        for method in operations
    }

    assert described == OPERATIONS


async def test_docs_are_open_in_a_local_hub_only(hub: TestHub) -> None:
    """Open with `public_docs`; otherwise they need a token like everything else."""
    local = await make_hub(time.time_ns(), public_docs=True)
    for path in ("/docs", "/openapi.json"):
        assert (await local.client.get(path)).status_code == 200
        assert (await hub.client.get(path)).status_code == 401
        assert (await hub.client.get(path, headers=hub.auth())).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nowhere", (404, "not_found")),
        ("GET", "/api/v1/models/", (404, "not_found")),
        ("PATCH", "/api/v1/infer", (405, "method_not_allowed")),
        ("DELETE", "/health", (405, "method_not_allowed")),
    ],
)
async def test_what_the_framework_refuses_is_a_problem_too(
    hub: TestHub, method: str, path: str, expected: tuple[int, str]
) -> None:
    """Unknown paths and methods, in the same form as every other error."""
    answer = await hub.client.request(method, path, headers=hub.auth())

    assert (answer.status_code, answer.json()["code"]) == expected
    assert answer.headers["content-type"] == MEDIA_TYPE


async def test_an_oversize_body_is_refused_declared_or_not() -> None:
    """413 from the declared length alone, and from the bytes that came without one."""
    hub = await make_hub(time.time_ns(), max_body_bytes=1000)
    declared = await hub.client.post("/api/v1/infer", content=b"x" * 1001, headers=hub.auth())

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    streamed = await hub.client.post("/api/v1/infer", content=chunks(), headers=hub.auth())
    for answer in (declared, streamed):
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_defect_is_told_without_its_words(hub: TestHub) -> None:
    """An unexpected exception is a 500 problem that says nothing of itself."""
    hub.router.fail = ZeroDivisionError("secret")  # type: ignore[assignment]  # a defect is no HubError
    answer = await hub.client.post("/api/v1/route", json={"task": "time_series_forecast"}, headers=hub.auth())

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text


async def test_requests_are_measured_by_route(hub: TestHub) -> None:
    """The label is the template, never the path that was asked for."""
    await hub.client.get("/api/v1/models/ridge", headers=hub.auth())
    await hub.client.get("/api/v1/models/naive", headers=hub.auth())
    await hub.client.get("/secret/nowhere", headers=hub.auth())

    counted = {
        dict(labels)["route"]: value
        for (name, labels), value in hub.meter.values.items()
        if name == "hub_requests_total"
    }
    assert counted == {"/api/v1/models/{name}": 2, "unmatched": 1}


async def test_a_body_that_never_ends_is_given_up() -> None:
    """A client that sends a byte now and then cannot hold a request open."""
    hub = await make_hub(time.time_ns(), body_timeout_s=0.05)

    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    answer = await hub.client.post("/api/v1/infer", content=trickle(), headers=hub.auth())

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
