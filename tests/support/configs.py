"""Tenants with a config, as tests of it call the control plane."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.support.control import ControlHub, new_tenant


@dataclass(frozen=True)
class Acme:
    """A tenant with an owner, an administrator and a trader; `path` is that of its config."""

    control: ControlHub
    tenant_id: str
    owner: dict[str, str]
    admin: dict[str, str]
    trader: dict[str, str]
    trader_id: str

    @property
    def path(self) -> str:
        return f"/tenants/{self.tenant_id}/config"

    @property
    def trader_path(self) -> str:
        return f"/tenants/{self.tenant_id}/users/{self.trader_id}/config"

    async def set(self, config: dict[str, Any], **query: Any) -> httpx2.Response:
        """Change the tenant's layer as its administrator."""
        body = json.dumps({"config": config})  # in plain ASCII: a test may send half a character
        headers = self.admin | {"Content-Type": "application/json"}
        return await self.control.client.patch(self.path, content=body, headers=headers, params=query)

    async def set_own(self, config: dict[str, Any], **query: Any) -> httpx2.Response:
        """Change the trader's layer as the trader."""
        return await self.control.client.patch(
            self.trader_path, json={"config": config}, headers=self.trader, params=query
        )

    async def get(self, path: str = "", *, headers: dict[str, str] | None = None) -> httpx2.Response:
        """Below the tenant's config, as its administrator."""
        return await self.control.client.get(self.path + path, headers=headers or self.admin)


async def acme(control: ControlHub, tenant_id: str = "acme", tier: str = "pro") -> Acme:
    """The tenant."""
    made = await control.client.post(
        "/tenants", json=new_tenant(tenant_id, tier=tier), headers=control.auth()
    )
    assert made.status_code == 201, made.text
    owner = control.auth(made.json()["owner"]["user_id"], tenant=tenant_id, roles=("tenant:owner",))
    body = {"login": "bob", "name": "Bob", "roles": ["tenant:trader"]}
    added = await control.client.post(f"/tenants/{tenant_id}/users", json=body, headers=owner)
    trader_id = added.json()["user_id"]
    return Acme(
        control,
        tenant_id,
        owner,
        control.auth("someone", tenant=tenant_id, roles=("tenant:admin",)),
        control.auth(trader_id, tenant=tenant_id, roles=("tenant:trader",)),
        trader_id,
    )
