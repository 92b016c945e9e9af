"""The tenant that commands on this machine act for, made by the first admin when the hub starts."""

from __future__ import annotations

import secrets
import time
from typing import Any, Final

from models.errors import ConfigError
from models.tenant import PLATFORM_TENANT
from serve_app.client import HubClient, Refused
from serve_app.settings import HubSettings

LOCAL_TENANT: Final = "local"
CONTROL: Final = "/api/v1/control"
_HEARD_S: Final = 10.0


def admin_token(settings: HubSettings, url: str) -> str:
    """An access token of the first admin; ConfigError if the settings name none."""
    first = settings.control.first_admin if settings.control else None
    if first is None:
        raise ConfigError("the settings name no control.first_admin", field="control.first_admin")
    body = {"tenant": PLATFORM_TENANT, "login": first.login, "password": first.password.resolve()}
    with HubClient(url, None) as hub:
        token: str = hub.call("POST", f"{CONTROL}/auth/login", body=body)["access_token"]
    return token


def make_local_tenant(settings: HubSettings, url: str) -> None:
    """Make the tenant `local`, tier enterprise, unless it is there; return once the gateway knows of it.

    Raises:
        Refused: the control plane refuses, or the gateway had not heard of the tenant in ten seconds.
    """
    owner = {"login": "operator", "name": "Operator", "password": secrets.token_urlsafe(24)}
    body: dict[str, Any] = {
        "tenant_id": LOCAL_TENANT,
        "name": "This machine",
        "tier": "enterprise",
        "owner": owner,
    }
    with HubClient(url, admin_token(settings, url)) as hub:
        try:
            hub.call("POST", f"{CONTROL}/tenants", body=body)
        except Refused as refused:
            if refused.field != "tenant_id":
                raise
        wait_until_known(hub, LOCAL_TENANT)


def wait_until_known(admin: HubClient, tenant_id: str) -> None:
    """Return once a gateway lets the tenant's people in; Refused if none does within ten seconds."""
    deadline = time.monotonic() + _HEARD_S
    while True:
        try:
            admin.call("GET", f"/config/{tenant_id}")
        except Refused:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
