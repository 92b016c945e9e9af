"""`GET /config/{tenant_id}`: the founding shape, from the gateway's own copy, and nobody else's."""

from __future__ import annotations

import time

import pytest

from models.principal import Tier
from models.tenant import TenantStatus
from tests.support.known_tenants import KnownTenants
from tests.unit.gateway.doubles import TestHub, known_tenants, make_hub

SEES = {"acme": (200, 404), "rival": (404, 200), "platform": (200, 200)}
ROLES = ("tenant:owner", "tenant:admin", "tenant:trader", "tenant:viewer", "tenant:service")


async def test_the_answer_has_the_founding_shape(hub: TestHub) -> None:
    """Status, tier, version and the whole config, with where each value is from."""
    answer = await hub.client.get("/config/acme", headers=hub.auth())
    page = answer.json()

    assert answer.status_code == 200
    assert {name: page[name] for name in ("status", "tenant_id", "tier", "environment", "version")} == {
        "status": "success",
        "tenant_id": "acme",
        "tier": "pro",
        "environment": "test",
        "version": 3,
    }
    assert page["config"]["risk"]["scale"] == 0.5
    assert page["origins"]["risk.scale"] == {"layer": "tenant", "version": 3}
    assert page["origins"]["limits.sockets"] == {"layer": "tier", "version": 0}
    assert page["config"]["mt5"]["password"] == {"secret": True, "set": True}
    assert page["features"] == {
        "stream": True,
        "ensembles": True,
        "experiments": True,
        "event_history": True,
    }


async def test_a_user_sees_its_own_layer_and_no_other_users(hub: TestHub) -> None:
    """`user=me` is the caller; nobody can be named."""
    mine = (await hub.client.get("/config/acme?user=me", headers=hub.auth("alice"))).json()
    colleague = (await hub.client.get("/config/acme?user=me", headers=hub.auth("bob"))).json()
    named = await hub.client.get("/config/acme?user=alice", headers=hub.auth("bob"))

    assert (mine["config"]["risk"]["scale"], mine["user_id"]) == (0.2, "alice")
    assert (colleague["config"]["risk"]["scale"], colleague["user_id"]) == (0.5, "bob")
    assert (named.status_code, named.json()["field"]) == (422, "user")


@pytest.mark.parametrize("caller", SEES)
async def test_a_tenant_sees_itself_and_the_platform_sees_all(hub: TestHub, caller: str) -> None:
    """Every role; a foreign tenant is byte for byte like one that never was."""
    roles = ROLES if caller != "platform" else ("admin", "operator")
    for role in roles:
        headers = hub.auth("someone", caller, roles=[role])
        acme = await hub.client.get("/config/acme", headers=headers)
        rival = await hub.client.get("/config/rival", headers=headers)
        absent = await hub.client.get("/config/nobody", headers=headers)

        assert (acme.status_code, rival.status_code) == SEES[caller]
        for answer in (acme, rival):
            assert answer.status_code == 200 or answer.content == absent.content


async def test_without_a_role_nothing_is_seen(hub: TestHub) -> None:
    """403, in the caller's own tenant."""
    answer = await hub.client.get("/config/acme", headers=hub.auth(roles=["nothing"]))

    assert answer.status_code == 403


async def test_a_tenant_that_is_gone_is_not_found() -> None:
    """Deleted: as if it never was, for the platform, too."""
    known = known_tenants()
    hub = await _hub(known)
    before = await hub.client.get("/config/acme", headers=hub.auth(roles=["admin"]))
    known.tenant("acme", status=TenantStatus.DELETED)
    after = await hub.client.get("/config/acme", headers=hub.auth(roles=["admin"]))

    assert (before.status_code, after.status_code) == (200, 404)


async def test_a_change_is_in_the_next_answer() -> None:
    """Tier and config, without asking anybody."""
    known = known_tenants()
    hub = await _hub(known)
    known.tenant("acme", tier=Tier.FREE, config={"risk.scale": 0.4}, config_version=4)
    page = (await hub.client.get("/config/acme", headers=hub.auth())).json()

    assert (page["tier"], page["version"], page["config"]["risk"]["scale"]) == ("free", 4, 0.4)
    assert page["config"]["limits"]["sockets"] == 5


async def test_a_hub_without_tenants_has_no_config() -> None:
    """A hub that runs without the control plane answers as for an absent tenant."""
    hub = await _hub(None)
    answer = await hub.client.get("/config/acme", headers=hub.auth())

    assert answer.status_code == 404


async def _hub(known: KnownTenants | None) -> TestHub:
    return await make_hub(time.time_ns(), tenants=known.view if known else None)
