"""Scorecard S1: no header, parameter or missing claim changes who a caller is or what it gets."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import jwt
import pytest

from models.principal import Tier
from tests.unit.gateway.doubles import SECRET, TOKENS, TestHub, make_hub
from tests.unit.gateway.requests import OPEN, furnish, request_of
from tests.unit.gateway.test_surface import OPERATIONS

HOSTILE_HEADERS: dict[str, list[tuple[str, str]]] = {
    "tenant": [("x-tenant-id", "rival")],
    "tenant in underscores": [("x_tenant_id", "rival")],
    "tenant twice": [("x-tenant-id", "rival"), ("X-Tenant-Id", "acme")],
    "user": [("X-User-Id", "bob")],
    "user in underscores": [("x_user_id", "bob")],
    "company": [("x-company-id", "rival")],
    "tier": [("x-subscription-tier", "enterprise")],
    "tier twice": [("x-subscription-tier", "enterprise"), ("x-subscription-tier", "free")],
    "roles": [("x-roles", "admin"), ("x-user-roles", "admin")],
    "hop by hop": [("Connection", "x-tenant-id"), ("x-tenant-id", "rival")],
    "dropped authorization": [("Connection", "authorization")],
    "forwarded user": [("X-Forwarded-User", "bob"), ("X-Remote-User", "bob"), ("Remote-User", "bob")],
    "rewritten path": [("X-Original-URL", "/health/live"), ("X-Rewrite-URL", "/health/live")],
    "method override": [("X-HTTP-Method-Override", "DELETE")],
    "legacy mode": [("x-legacy-mode", "true"), ("legacy_mode", "true")],
    "cookie": [("Cookie", "tenant=rival; session=admin")],
}
HOSTILE_QUERIES: dict[str, dict[str, str]] = {
    "legacy mode": {"legacy_mode": "true"},
    "tenant": {"tenant_id": "rival", "x-tenant-id": "rival"},
    "user": {"user_id": "bob"},
    "token": {"access_token": "x", "token": "x"},
}


@dataclass(frozen=True)
class Seen:
    """All of an answer that could depend on who asked."""

    status: int
    body: bytes
    policy: str


async def _furnished_hub() -> TestHub:
    """A hub in which alice, a colleague and a rival have something to be seen."""
    hub = await make_hub(_NOW_NS)
    for user, tenant in (("alice", "acme"), ("bob", "acme"), ("bob-at-rival", "rival")):
        await furnish(hub, user, tenant)
    return hub


class Alice:
    """Sends alice's requests; one that changes something gets a new hub, so that only the request differs."""

    def __init__(self, method: str, path: str) -> None:
        self._request = request_of(method, path)
        self._reuse = method == "GET"
        self._hub: TestHub | None = None

    async def ask(
        self, *, headers: Sequence[tuple[str, str]] = (), query: dict[str, str] | None = None
    ) -> Seen:
        if self._hub is None or not self._reuse:
            self._hub = await _furnished_hub()
        token = ("Authorization", f"Bearer {self._hub.token('alice', tier=Tier.PRO)}")
        answer = await self._hub.client.request(**self._request, params=query, headers=[token, *headers])
        return Seen(answer.status_code, answer.content, answer.headers["ratelimit-policy"])


_NOW_NS = time.time_ns() // 10**9 * 10**9
GUARDED = sorted(operation for operation in OPERATIONS if operation[1] not in OPEN)


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_no_claim_beside_the_token_changes_an_answer(method: str, path: str) -> None:
    """Every operation x every hostile header and parameter: byte for byte the plain answer."""
    alice = Alice(method, path)
    plain = await alice.ask()

    for name, headers in HOSTILE_HEADERS.items():
        assert await alice.ask(headers=headers) == plain, name
    for name, query in HOSTILE_QUERIES.items():
        assert await alice.ask(query=query) == plain, name


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_nothing_but_a_token_opens_an_operation(hub: TestHub, method: str, path: str) -> None:
    """Without one, with two, or with another scheme: 401, whatever the other headers say."""
    token = hub.token(roles=["admin"])
    attempts: list[list[tuple[str, str]]] = [
        [],
        [("Authorization", token)],
        [("Authorization", f"Basic {token}")],
        [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")],
        [("Authorization", f"Bearer {token},Bearer {token}")],
        [("Proxy-Authorization", f"Bearer {token}")],
        [("Cookie", f"Authorization=Bearer {token}; access_token={token}")],
        *HOSTILE_HEADERS.values(),
    ]
    answers = [await hub.client.request(**request_of(method, path), headers=each) for each in attempts]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": None},
        {"tenant": ""},
        {"tenant": ["acme", "rival"]},
        {"tenant": "acme/rate"},
        {"tenant": "acme\n"},
        {"tier": None},
        {"tier": "platinum"},
        {"tier": ""},
        {"tier": ["enterprise"]},
        {"sub": None},
        {"sub": "~claim"},
        {"sub": ""},
        {"sub": 7},
        {"entitled_until": None},
        {"entitled_until": "never"},
        {"entitled_until": 1e300},
        {"roles": "admin"},
        {"roles": [7]},
    ],
    ids=str,
)
async def test_a_missing_or_unknown_attribute_denies(hub: TestHub, change: dict[str, Any]) -> None:
    """A well-signed token without a known tenant, tier, user, entitlement or roles opens nothing."""
    answer = await hub.client.get("/api/v1/models", headers=_signed(hub, change))

    assert answer.status_code == 401


async def test_a_tokens_roles_are_its_only_roles(hub: TestHub) -> None:
    """Without the claim those of a trader; with an empty one there are none."""
    path = "/api/config/messaging/kafka/topics"

    assert (await hub.client.get(path, headers=_signed(hub, {"roles": None}))).status_code == 403
    assert (await hub.client.get("/api/v1/models", headers=_signed(hub, {"roles": None}))).status_code == 200
    assert (await hub.client.get("/api/v1/models", headers=_signed(hub, {}))).status_code == 403
    assert (await hub.client.get(path, headers=_signed(hub, {"roles": ["admin"]}))).status_code == 200


async def test_a_websocket_is_not_let_in(hub: TestHub) -> None:
    """The stream is another deployment; here every socket is closed."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/api/v1/stream", "headers": [], "query_string": b""}
    await hub.app(scope, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]


def _signed(hub: TestHub, change: dict[str, Any]) -> httpx2.Headers:
    """A token signed with the right secret; a claim that is None is left out."""
    now_s = hub.clock() // 10**9
    claims = {
        "iss": TOKENS.issuer,
        "aud": TOKENS.audience,
        "sub": "alice",
        "tenant": "acme",
        "tier": "pro",
        "roles": [],
        "entitled_until": now_s + 600,
        "exp": now_s + 600,
    } | change
    kept = {name: value for name, value in claims.items() if value is not None}
    # PyJWT refuses to write some of these; the signature is what counts here
    token = jwt.api_jws.encode(_json(kept), SECRET, algorithm="HS256", headers={"typ": "at+jwt"})
    return httpx2.Headers({"Authorization": f"Bearer {token}"})


def _json(claims: dict[str, Any]) -> bytes:
    return json.dumps(claims).encode()
