"""One valid request per operation of the API, for the tests that try every operation."""

from __future__ import annotations

import base64
from typing import Any

from tests.support.cards import a_card
from tests.unit.gateway.doubles import STRATEGY, TestHub, decision, principal, put_bars

TASK = {"task": "time_series_forecast"}
DECISION_ID = "d" * 32
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/route": TASK,
    "/api/v1/infer": TASK | {"symbol": "EURUSD"},
    "/api/v1/routing/recording": {"seconds": 0.01},
    "/api/v1/models": {
        "card": a_card("new").model_dump(mode="json"),
        "artefact": base64.b64encode(b"a model").decode(),
    },
    "/api/v1/models/{name}/{version}/promote": {"reason": "a test"},
    "/api/v1/models/{name}/{version}/retire": {"reason": "a test"},
    "/api/v1/models/{name}/rollback": {"reason": "a test"},
    "/api/v1/halts/{scope}/{halted}": {"reason": "a test"},
    "/api/v1/events/{data_type}": {
        "type": "place_order",
        "body": {"account_id": "a", "command_id": "c", "symbol": "EURUSD.pro"},
    },
}
PARAMETERS = {
    "{name}": "ridge",
    "{version}": "1",
    "{decision_id}": DECISION_ID,
    "{strategy}": STRATEGY.ref,
    "{symbol}": "EURUSD",
    "{delivery_id}": "delivery-1",
    "{scope}": "user",
    "{halted}": "alice",
    "{data_type}": "commands",
    "{tenant_id}": "acme",
}
OPEN = {"/health/live", "/health/ready"}


def url_of(path: str) -> str:
    """The path with its parameters filled in."""
    for parameter, value in PARAMETERS.items():
        path = path.replace(parameter, value)
    return path


def request_of(method: str, path: str) -> dict[str, Any]:
    """Arguments of a valid request."""
    body = {"json": BODIES[path]} if path in BODIES and method != "GET" else {}
    return {"method": method, "url": url_of(path)} | body


async def furnish(hub: TestHub, user_id: str = "alice", tenant: str = "acme") -> None:
    """Give a user something under every address: bars, a decision, a subscription, an event."""
    owner = principal(user_id, tenant, now_ns=hub.clock())
    if not (await hub.feed.bars("EURUSD", STRATEGY.bar_ms, limit=1))[0]:
        await put_bars(hub.feed)
    await hub.services.decisions.remember(owner, decision(DECISION_ID))
    mine = hub.auth(user_id, tenant)
    await hub.client.put(url_of("/api/v1/subscriptions/{strategy}/{symbol}"), headers=mine)
    await hub.client.request(**request_of("POST", "/api/v1/events/{data_type}"), headers=mine)
