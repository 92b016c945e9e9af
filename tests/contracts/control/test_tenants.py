"""Tenants, by HTTP."""

from __future__ import annotations

from tests.support.control import ControlHub


async def test_a_tenant_that_is_not_there_is_not_found(control: ControlHub) -> None:
    """The platform's admin gets the same answer as everybody else."""
    answer = await control.client.get("/tenants/nobody", headers=control.auth())

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
