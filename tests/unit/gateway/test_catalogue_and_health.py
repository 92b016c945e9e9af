"""Models, health and messaging discovery."""

from __future__ import annotations

import time
from typing import Any

import pytest

from deployments.gateway.health import Health, Readiness
from messaging.topics import TOPICS
from models.errors import AlreadyRegistered, BrokerUnavailable, CardRejected, HubError, RegistryAway
from models.lifecycle import Move, NewModel, Step
from tests.unit.gateway.doubles import ScriptedDesk, TestHub, make_hub
from tests.unit.gateway.requests import request_of


async def test_lists_models_with_their_evidence(hub: TestHub) -> None:
    """All, one by name, one by version; with the catalogue's version."""
    everything = (await hub.client.get("/api/v1/models", headers=hub.auth())).json()
    ridge = (await hub.client.get("/api/v1/models/ridge", headers=hub.auth())).json()
    second = (await hub.client.get("/api/v1/models/ridge/2", headers=hub.auth())).json()

    assert everything["catalogue_version"] == 7
    assert [(card["name"], card["version"]) for card in everything["models"]] == [
        ("naive", "1"),
        ("ridge", "1"),
        ("ridge", "2"),
    ]
    assert [card["version"] for card in ridge["models"]] == ["1", "2"]
    assert second["evidence"][0]["coverage"]["0.90"]["n"] == 1000


@pytest.mark.parametrize("path", ["/api/v1/models/none", "/api/v1/models/ridge/9", "/api/v1/models/%2e%2e/x"])
async def test_an_unknown_model_is_not_found(hub: TestHub, path: str) -> None:
    """By name or version."""
    assert (await hub.client.get(path, headers=hub.auth())).status_code == 404


@pytest.mark.parametrize(
    ("pools", "catalogue", "broker", "status"),
    [(True, True, True, 200), (False, True, True, 503), (True, False, True, 503), (True, True, False, 503)],
)
async def test_ready_waits_for_all_it_needs(
    *, pools: bool, catalogue: bool, broker: bool, status: int
) -> None:
    """Pools seen, catalogue read, broker answered; the answer has no body."""
    hub = await make_hub(time.time_ns())
    health = Health(bus=hub.bus, readiness=Readiness(lambda: pools, lambda: catalogue), probes={})
    hub = await make_hub(time.time_ns(), health=health)
    if not broker:
        health._bus = _NoBroker()  # type: ignore[assignment]
    answer = await hub.client.get("/health/ready")

    assert (answer.status_code, answer.content) == (status, b"")


async def test_a_broker_that_goes_away_later_does_not_unready_a_gateway(hub: TestHub) -> None:
    """Routing goes on without it, so the balancer must go on, too."""
    assert (await hub.client.get("/health/ready")).status_code == 200
    hub.services.health._bus = _NoBroker()  # type: ignore[assignment]

    assert (await hub.client.get("/health/ready")).status_code == 200


async def test_live_has_no_body_and_needs_nothing(hub: TestHub) -> None:
    """Open to everybody."""
    answer = await hub.client.get("/health/live")

    assert (answer.status_code, answer.content) == (200, b"")


async def test_detail_names_what_is_away(hub: TestHub) -> None:
    """One check a thing; an error shows as its code, without its text."""

    async def fine() -> str:
        return "3 models"

    async def away() -> str:
        raise BrokerUnavailable("no answer from 10.0.0.1:9092")

    health = Health(
        bus=hub.bus, readiness=Readiness(lambda: True, lambda: True), probes={"a": fine, "b": away}
    )
    hub = await make_hub(time.time_ns(), health=health)
    answer = await hub.client.get("/health", headers=hub.auth())

    assert answer.json() == {
        "status": "degraded",
        "ready": True,
        "checks": {
            "a": {"status": "ok", "detail": "3 models"},
            "b": {"status": "degraded", "detail": "broker_unavailable"},
        },
        "halts": [],
    }


async def test_topics_are_compared_with_the_contract(hub: TestHub) -> None:
    """Every topic of the hub with what the broker has."""
    answer = await hub.client.get("/api/health/kafka/topics", headers=hub.auth())

    assert answer.json()["status"] == "ok"
    assert set(answer.json()["topics"]) == {topic.name for topic in TOPICS}


@pytest.mark.parametrize(
    ("path", "domain", "count"),
    [("nats/subjects", "market", 3), ("kafka/topics", "user", 13), ("kafka/consumer-groups", "hub", 3)],
)
async def test_discovery_has_the_founding_shape(hub: TestHub, path: str, domain: str, count: int) -> None:
    """`status`, `domain` and the list; all domains without the parameter."""
    admin = hub.auth(roles=["admin"])
    url = f"/api/config/messaging/{path}"
    key = path.split("/")[1].replace("-", "_")
    some = (await hub.client.get(url, params={"domain": domain}, headers=admin)).json()
    everything = (await hub.client.get(url, headers=admin)).json()

    assert list(some) == ["status", "domain", key]
    assert (some["status"], some["domain"], len(some[key])) == ("success", domain, count)
    assert everything["domain"] == "all"
    assert len(everything[key]) > count


async def test_an_unknown_domain_names_the_known_ones(hub: TestHub) -> None:
    """422 with the field."""
    answer = await hub.client.get(
        "/api/config/messaging/kafka/topics?domain=x", headers=hub.auth(roles=["admin"])
    )

    assert (answer.status_code, answer.json()["field"]) == (422, "domain")
    assert "hub, user" in answer.json()["detail"]


class _NoBroker:
    """A bus whose broker does not answer."""

    async def ping(self, *, timeout_s: float) -> None:
        raise BrokerUnavailable(f"no answer in {timeout_s} s")


async def test_an_admin_adds_a_model(hub: TestHub) -> None:
    """The registry is told card and bytes, and who asked."""
    desk = ScriptedDesk()
    hub = await make_hub(time.time_ns(), models=desk)
    answer = await hub.client.request(**request_of("POST", "/api/v1/models"), headers=admin(hub))

    assert (answer.status_code, answer.json()["name"]) == (201, "new")
    asked, by = desk.asked[0]
    assert isinstance(asked, NewModel)
    assert (asked.artefact, by) == (b"a model", "root")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"artefact": "%%%"}, "artefact"),
        ({"artefact": ""}, "artefact"),
        ({"artefact": None}, "artefact"),
        ({"card": {"name": "../up"}}, "card"),
        ({"card": None}, "card"),
        ({"unheard": 1}, "unheard"),
    ],
)
async def test_a_bad_registration_names_its_field(hub: TestHub, change: dict[str, Any], field: str) -> None:
    """And the registry never hears of it."""
    desk = ScriptedDesk()
    hub = await make_hub(time.time_ns(), models=desk)
    body = request_of("POST", "/api/v1/models")["json"] | change
    answer = await hub.client.post("/api/v1/models", json=body, headers=admin(hub))

    assert answer.status_code == 422
    assert answer.json()["field"].startswith(field)
    assert desk.asked == []


@pytest.mark.parametrize(
    ("fail", "status"),
    [(CardRejected("x", field="sha256"), 422), (AlreadyRegistered("x"), 409), (RegistryAway("x"), 503)],
)
async def test_why_a_model_is_not_taken_is_told(hub: TestHub, fail: HubError, status: int) -> None:
    """With the code of the error, for a registration as for a move."""
    hub = await make_hub(time.time_ns(), models=ScriptedDesk(fail))
    moved = "/api/v1/models/{name}/{version}/promote"
    for path in ("/api/v1/models", moved):
        answer = await hub.client.request(**request_of("POST", path), headers=admin(hub))
        assert (answer.status_code, answer.json()["code"]) == (status, fail.code)


async def test_moves_name_what_they_are_about(hub: TestHub) -> None:
    """A version to promote or retire, a name to roll back; why and by whom."""
    desk = ScriptedDesk()
    hub = await make_hub(time.time_ns(), models=desk)
    for path in ("{name}/{version}/promote", "{name}/rollback", "{name}/{version}/retire"):
        await hub.client.request(**request_of("POST", f"/api/v1/models/{path}"), headers=admin(hub))

    assert [(asked.step, asked.model) for asked, _ in desk.asked if isinstance(asked, Move)] == [
        (Step.PROMOTE, "ridge@1"),
        (Step.ROLLBACK, "ridge"),
        (Step.RETIRE, "ridge@1"),
    ]


def admin(hub: TestHub) -> dict[str, str]:
    """Headers of somebody who may."""
    return hub.auth("root", "acme", roles=["admin"])
