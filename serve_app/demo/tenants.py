"""The tenants of the demo: real ones, made through the control plane, with users the hub gave their ids.

At the end one trader of each comes in with a password and looks around: what is theirs, and what is not.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from models.principal import Tier
from serve_app.client import HubClient, Refused
from serve_app.local_tenants import CONTROL, admin_token
from serve_app.settings import HubSettings

_NAMES: Final = (("harbour", Tier.FREE), ("northwind", Tier.PRO), ("summit", Tier.ENTERPRISE))
_TRADER: Final = "trader"
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class DemoUser:
    """A user of the demo; the first of each tenant has a `password`."""

    user_id: str
    tenant_id: str
    tier: Tier
    password: str | None = None


def found_tenants(settings: HubSettings, url: str, users: int) -> list[DemoUser]:
    """Make the tenants and spread the users over them, in turn."""
    with HubClient(url, admin_token(settings, url)) as admin:
        shares = [
            list(_users(admin, *named, count=_share(users, place))) for place, named in enumerate(_NAMES)
        ]
    return [shares[number % len(shares)][number // len(shares)] for number in range(users)]


def _share(users: int, place: int) -> int:
    return len(range(place, users, len(_NAMES)))


def _users(admin: HubClient, name: str, tier: Tier, *, count: int) -> Iterator[DemoUser]:
    owner = {"login": "owner", "name": "Owner", "password": secrets.token_urlsafe(16)}
    admin.call(
        "POST",
        f"{CONTROL}/tenants",
        body={"tenant_id": name, "name": name.title(), "tier": tier, "owner": owner},
    )
    path = f"{CONTROL}/tenants/{name}/users"
    if count:
        password = secrets.token_urlsafe(16)
        trader = admin.call("POST", path, body={"login": _TRADER, "name": "Trader", "password": password})
        yield DemoUser(trader["user_id"], name, tier, password)
    logins = iter([f"user-{number:05d}" for number in range(1, count)])
    while some := list(islice(logins, _BATCH)):
        body = {"users": [{"login": login, "name": login} for login in some]}
        for user in admin.call("POST", f"{path}/batch", body=body)["users"]:
            yield DemoUser(user["user_id"], name, tier)


def tenant_lines(url: str, users: Sequence[DemoUser]) -> list[str]:
    """What a trader of each tenant sees who comes in with a password."""
    return [_line(url, user, users) for user in users if user.password]


def _line(url: str, user: DemoUser, users: Sequence[DemoUser]) -> str:
    body = {"tenant": user.tenant_id, "login": _TRADER, "password": user.password}
    with HubClient(url, None) as nobody:
        token: str = nobody.call("POST", f"{CONTROL}/auth/login", body=body)["access_token"]
    with HubClient(url, token) as trader:
        signals = trader.call("GET", "/api/v1/signals", query={"since_seq": 0})["signals"]
        own = all(one["user_id"] == user.user_id for one in signals)
        calls = trader.call("GET", f"/config/{user.tenant_id}")["config"]["limits"]["user_rate"]
        others = {one.tenant_id for one in users} - {user.tenant_id}
        told = ", ".join(f"{name}: {_asked(trader, name)}" for name in sorted(others))
    return (
        f"{user.tenant_id} ({user.tier}): its trader logged in and read {len(signals)} signals, "
        f"{'all their own' if own else 'NOT all their own'}; may call {calls}; asked for {told}"
    )


def _asked(trader: HubClient, tenant: str) -> str:
    """What came of asking for another tenant."""
    try:
        answer: dict[str, Any] = trader.call("GET", f"{CONTROL}/tenants/{tenant}")
    except Refused as refused:
        return refused.message.split(":")[0]
    return f"SAW {answer['tenant_id']}"
