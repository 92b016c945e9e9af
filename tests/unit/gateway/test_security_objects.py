"""Scorecard S2: (role x tenant) x operation x (own, foreign, deleted, absent) object."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from deployments.gateway.decisions import KEPT_S
from models.principal import Tier
from tests.unit.gateway.doubles import TestHub, decision, make_hub, principal
from tests.unit.gateway.requests import DECISION_ID, OPEN, PARAMETERS, furnish, request_of, url_of
from tests.unit.gateway.test_signals import claim, signal, write
from tests.unit.gateway.test_surface import OPERATIONS

DECISION: Final = ("GET", "/api/v1/decisions/{decision_id}")
SIGNAL: Final = ("GET", "/api/v1/signals/{delivery_id}/explain")
SUBSCRIPTION: Final = "/api/v1/subscriptions/{strategy}/{symbol}"
OBJECTS: Final = {DECISION, SIGNAL, ("GET", SUBSCRIPTION), ("DELETE", SUBSCRIPTION)}
HALT: Final = "/api/v1/halts/{scope}/{halted}"
EVENTS: Final = "/api/v1/events/{data_type}"
OWN_LISTS: Final = {
    ("GET", "/api/v1/subscriptions"): "subscriptions",
    ("GET", "/api/v1/signals"): "signals",
    ("GET", EVENTS): "events",
}
OWN_WRITES: Final = {
    ("PUT", SUBSCRIPTION),
    ("POST", "/api/v1/route"),
    ("POST", "/api/v1/infer"),
    ("POST", EVENTS),
}
OWN_SWITCH: Final = {("PUT", HALT), ("DELETE", HALT), ("GET", "/api/v1/halts")}
"""`test_halts.py` has their matrix: they are named by their scope, and admins see and work all of them."""
OF_TENANT: Final = {("GET", "/config/{tenant_id}")}
"""`test_config.py` has their matrix: they are of a tenant, and the platform sees all of them."""
ADMIN_ONLY: Final = {
    operation
    for operation in OPERATIONS
    if operation[1].startswith(("/api/config/", "/api/v1/routing/"))
    or (operation[0] == "POST" and operation[1].startswith("/api/v1/models"))
}
SHARED: Final = {
    ("GET", "/health"),
    ("GET", "/api/health/kafka/topics"),
    ("GET", "/api/v1/models"),
    ("GET", "/api/v1/models/{name}"),
    ("GET", "/api/v1/models/{name}/evidence"),
    ("GET", "/api/v1/models/{name}/{version}"),
}


@dataclass(frozen=True)
class Caller:
    """Somebody with a good token."""

    user_id: str
    tenant: str
    facts: dict[str, Any] = field(default_factory=dict, hash=False)

    def headers(self, hub: TestHub) -> dict[str, str]:
        return hub.auth(self.user_id, self.tenant, **self.facts)


ALICE: Final = Caller("alice", "acme")
OTHERS: Final = {
    "colleague": Caller("bob", "acme"),
    "namesake in another tenant": Caller("alice", "rival"),
    "stranger": Caller("eve", "rival"),
    "admin of the tenant": Caller("root", "acme", {"roles": ["admin"]}),
    "admin of another tenant": Caller("root", "rival", {"roles": ["admin"]}),
    "service": Caller("svc", "acme", {"tier": Tier.SERVICE, "roles": ["service"]}),
}


def test_every_operation_is_in_the_matrix() -> None:
    """A new operation has to say which kind it is."""
    opened = {operation for operation in OPERATIONS if operation[1] in OPEN}

    assert (
        OBJECTS | set(OWN_LISTS) | OWN_WRITES | OWN_SWITCH | OF_TENANT | ADMIN_ONLY | SHARED | opened
        == OPERATIONS
    )


@pytest.mark.parametrize("operation", sorted(OBJECTS))
async def test_an_owner_reaches_its_object(operation: tuple[str, str]) -> None:
    """Otherwise the refusals below would prove nothing."""
    hub = await _alices_hub()
    answer = await hub.client.request(**request_of(*operation), headers=ALICE.headers(hub))

    assert answer.status_code in {200, 204}


@pytest.mark.parametrize("operation", sorted(OBJECTS))
@pytest.mark.parametrize("other", OTHERS)
async def test_a_foreign_object_is_like_one_that_never_was(operation: tuple[str, str], other: str) -> None:
    """404 with the very same bytes, for every other caller; and the object is untouched."""
    hub = await _alices_hub()
    caller = OTHERS[other].headers(hub)
    foreign = await hub.client.request(**request_of(*operation), headers=caller)
    absent = await hub.client.request(operation[0], _absent(operation[1]), headers=caller)
    after = await hub.client.get(url_of(SUBSCRIPTION), headers=ALICE.headers(hub))

    assert (foreign.status_code, absent.status_code, after.status_code) == (404, 404, 200)
    assert foreign.content == absent.content


@pytest.mark.parametrize("operation", sorted(OBJECTS - {SIGNAL}))
async def test_a_deleted_object_is_like_one_that_never_was(operation: tuple[str, str]) -> None:
    """For its own owner, too: signals alone cannot be deleted."""
    hub = await _alices_hub()
    mine = ALICE.headers(hub)
    await hub.client.delete(url_of(SUBSCRIPTION), headers=mine)
    hub.clock.move(KEPT_S)
    deleted = await hub.client.request(**request_of(*operation), headers=mine)
    absent = await hub.client.request(operation[0], _absent(operation[1]), headers=mine)

    assert (deleted.status_code, absent.status_code) == (404, 404)
    assert deleted.content == absent.content


@pytest.mark.parametrize("other", OTHERS)
async def test_lists_hold_nothing_of_others(other: str) -> None:
    """Subscriptions, signals and events of other callers are empty while alice's are not."""
    hub = await _alices_hub()
    for (_, path), kind in OWN_LISTS.items():
        mine = (await hub.client.get(url_of(path), headers=ALICE.headers(hub))).json()[kind]
        theirs = (await hub.client.get(url_of(path), headers=OTHERS[other].headers(hub))).json()[kind]

        assert (len(mine), theirs) == (1, [])


@pytest.mark.parametrize("other", OTHERS)
async def test_writes_land_with_their_writer(other: str) -> None:
    """Another caller's subscription and decision never show up as alice's, nor change hers."""
    hub = await _alices_hub()
    before = (await hub.client.get(url_of(SUBSCRIPTION), headers=ALICE.headers(hub))).json()
    await hub.client.put(
        url_of(SUBSCRIPTION), json={"risk": {"scale": 9}}, headers=OTHERS[other].headers(hub)
    )
    await hub.services.decisions.remember(
        principal(OTHERS[other].user_id, OTHERS[other].tenant), decision(DECISION_ID, profile="theirs")
    )

    assert (await hub.client.get(url_of(SUBSCRIPTION), headers=ALICE.headers(hub))).json() == before
    kept = (await hub.client.get(url_of(DECISION[1]), headers=ALICE.headers(hub))).json()
    assert kept["profile"] == "balanced"


@pytest.mark.parametrize("operation", sorted(ADMIN_ONLY))
async def test_only_admins_reach_admin_operations(operation: tuple[str, str]) -> None:
    """403 with one body for every role but admin."""
    hub = await _alices_hub()
    answers = {
        name: await hub.client.request(**request_of(*operation), headers=caller.headers(hub))
        for name, caller in (OTHERS | {"alice": ALICE}).items()
    }

    allowed = {name for name, answer in answers.items() if answer.status_code in {200, 201}}
    assert allowed == {"admin of the tenant", "admin of another tenant"}
    refused = [answer for name, answer in answers.items() if name not in allowed]
    assert {answer.status_code for answer in refused} == {403}
    assert len({answer.content for answer in refused}) == 1


@pytest.mark.parametrize("operation", sorted(SHARED))
async def test_shared_operations_say_the_same_to_everybody(operation: tuple[str, str]) -> None:
    """What is not about a caller does not depend on one."""
    hub = await _alices_hub()
    answers = [
        await hub.client.request(**request_of(*operation), headers=caller.headers(hub))
        for caller in OTHERS.values()
    ]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize(
    "decision_id",
    ["../alice/x", "acme/decision/alice", "%2e%2e%2f", "alice%2F" + DECISION_ID, "*", "%00", "a" * 5000],
)
async def test_an_id_cannot_climb_out_of_its_owner(decision_id: str) -> None:
    """Separators, wildcards and lengths in an id find nothing."""
    hub = await _alices_hub()
    answer = await hub.client.get(
        f"/api/v1/decisions/{decision_id}", headers=OTHERS["colleague"].headers(hub)
    )

    assert answer.status_code == 404


async def _alices_hub() -> TestHub:
    """A hub where only alice has a decision, a subscription and a signal."""
    hub = await make_hub(time.time_ns() // 10**9 * 10**9)
    await furnish(hub)
    await hub.services.decisions.flush()
    await write(hub, [claim(), signal(1, epoch=0)])
    return hub


def _absent(path: str) -> str:
    """The address of something that never was."""
    never = {
        "{decision_id}": "e" * 32,
        "{delivery_id}": "delivery-9",
        "{strategy}": "never@1",
    }
    for parameter, value in (PARAMETERS | never).items():
        path = path.replace(parameter, value)
    return path
