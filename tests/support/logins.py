"""A tenant with people who log in, as tests of the control plane need them."""

from __future__ import annotations

from typing import Any

import httpx2

from deployments.control.app import ROUTE, create_app
from tests.support.control import OWNER, ControlHub, new_tenant
from tests.support.eventually import eventually

PASSWORD = OWNER["password"]


async def provision(control: ControlHub, tenant: str = "acme", **more: Any) -> str:
    """A tenant whose owner is `ann`, known to every process; the owner's id."""
    made = await control.client.post("/tenants", json=new_tenant(tenant, **more), headers=control.auth())
    assert made.status_code == 201, made.text
    await eventually(lambda: control.services.auth.fold.tenant(tenant))
    owner: str = made.json()["owner"]["user_id"]
    return owner


async def add_user(control: ControlHub, login: str, *roles: str, tenant: str = "acme") -> str:
    """Another user of the tenant with the same password; its id."""
    body = {"login": login, "name": login.title(), "roles": roles or ["tenant:trader"], "password": PASSWORD}
    added = await control.client.post(f"/tenants/{tenant}/users", json=body, headers=control.auth())
    assert added.status_code == 201, added.text
    user_id: str = added.json()["user_id"]
    return user_id


def client_from(control: ControlHub, address: str) -> httpx2.AsyncClient:
    """A client at another address."""
    transport = httpx2.ASGITransport(
        app=create_app(control.services), root_path=ROUTE, client=(address, 40_000)
    )
    return httpx2.AsyncClient(transport=transport, base_url=f"http://hub{ROUTE}")


async def try_login(
    client: httpx2.AsyncClient,
    login: str = "ann",
    *,
    tenant: str = "acme",
    password: str = PASSWORD,
    headers: dict[str, str] | None = None,
) -> httpx2.Response:
    """One attempt."""
    body = {"tenant": tenant, "login": login, "password": password, "client": "tests"}
    return await client.post("/auth/login", json=body, headers=headers)


async def logged_in(control: ControlHub, login: str = "ann", *, tenant: str = "acme") -> dict[str, Any]:
    """What a good login answers."""
    answer = await try_login(control.client, login, tenant=tenant)
    assert answer.status_code == 200, answer.text
    pair: dict[str, Any] = answer.json()
    return pair


def bearer(pair: dict[str, Any]) -> dict[str, str]:
    """Headers of its access token."""
    return {"Authorization": f"Bearer {pair['access_token']}"}


async def refreshed(control: ControlHub, token: str) -> httpx2.Response:
    """One attempt to refresh."""
    return await control.client.post("/auth/refresh", json={"refresh_token": token})
