"""Every denied request of a known caller is noted for the audit: made from the routes of the application."""

from __future__ import annotations

import time

import pytest

from messaging.topics import DENIALS
from models.audit import Denial, DenialReport
from tests.unit.gateway.doubles import TestHub, make_hub
from tests.unit.gateway.requests import OPEN, furnish, request_of
from tests.unit.gateway.test_surface import OPERATIONS


async def _noted(hub: TestHub) -> list[tuple[str, Denial]]:
    await hub.services.denials.flush()
    records = hub.log.partition(DENIALS.name, 0).records
    reports = [DenialReport.from_record(one.value or b"") for one in records]
    return [(report.tenant_id, one) for report in reports for one in report.denials]


@pytest.mark.parametrize("operation", sorted(one for one in OPERATIONS if one[1] not in OPEN))
async def test_a_caller_without_a_role_is_noted(operation: tuple[str, str]) -> None:
    """Whatever it asks for: once, with the permission that it lacks; one with all roles is not noted."""
    hub = await make_hub(time.time_ns())
    await furnish(hub)
    request = request_of(*operation)
    roles = ["tenant:owner", "admin", "operator"]
    allowed = await hub.client.request(**request, headers=hub.auth(roles=roles))
    denied = await hub.client.request(**request, headers=hub.auth("mallory", roles=["nothing"]))

    assert (allowed.status_code == 403, denied.status_code) == (False, 403)
    ((tenant, noted),) = await _noted(hub)
    assert (tenant, noted.user_id, noted.times) == ("acme", "mallory", 1)
    assert noted.object == f"{request['method']} {request['url']}"
    assert noted.action.startswith("access.")
    assert noted.action != "access.unknown"


async def test_who_asks_for_another_tenants_config_is_noted(hub: TestHub) -> None:
    """The answer is that of an absent one; the caller's own tenant learns of it, the other one does not."""
    foreign = await hub.client.get("/config/rival", headers=hub.auth())
    await hub.client.get("/api/v1/decisions/none", headers=hub.auth())
    ((tenant, noted),) = await _noted(hub)

    assert foreign.status_code == 404
    assert (tenant, noted.user_id, noted.action) == ("acme", "alice", "access.config:read")
    assert noted.object == "GET /config/rival"
