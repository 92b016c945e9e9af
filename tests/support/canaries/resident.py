"""A tenant with a canary in all it says: names, config, accounts, events, and the features it sends."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Final

import httpx2

from models.principal import Tier
from models.task import WINDOW
from serve_app.access import local_token, principal_of
from serve_app.local_tenants import CONTROL
from tests.e2e.conftest import UpHub

PASSWORD: Final = "correct horse battery"
MODELS: Final = ("ridge", "mlp")
"""Of the models that the hub ships, some whose forecast is a different one for every window."""
_DIGITS: Final = 14  # with the one before them as many as a double keeps


@dataclass(frozen=True, eq=False)
class Resident:
    """`canary` is 128 random bits; `digits` stand in the first number of `window`, which its people send."""

    tenant_id: str
    user_id: str
    canary: str
    digits: str
    window: list[float]
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def subscription(self) -> str:
        """The account is the canary, so that every signal has it."""
        return f"/api/v1/subscriptions/swift@1/EURUSD?account={self.canary}"

    def ask(self, model: str | None = None) -> dict[str, Any]:
        """A request for inference on what is the tenant's own."""
        named = {"model": model} if model else {}
        inputs = {"window": [self.window], "context": [[0.0] * 8]}
        return {"task": "time_series_forecast", "max_latency_ms": 2000, "inputs": inputs, **named}

    def calls(self) -> list[tuple[str, str, Any]]:
        """What its people do all day; the canary is in what they write and what they read."""
        own = f"{CONTROL}/tenants/{self.tenant_id}"
        setting = {"type": "settings_saved", "body": {"document": "ui", "values": {"c": self.canary}}}
        return [
            ("GET", f"/config/{self.tenant_id}", None),
            ("GET", own, None),
            ("GET", f"{own}/users", None),
            ("GET", f"{own}/config", None),
            ("GET", f"{CONTROL}/me", None),
            ("PATCH", f"{own}/config", {"config": {"branding.display_name": self.canary}}),
            ("PUT", self.subscription, None),
            ("GET", "/api/v1/subscriptions", None),
            ("POST", "/api/v1/events/settings", setting),
            ("GET", "/api/v1/events/settings", None),
            ("GET", "/api/v1/signals?since_seq=0&limit=20", None),
            *(("POST", "/api/v1/infer", self.ask(model)) for model in (None, *MODELS)),
        ]


async def settled(hub: UpHub, client: httpx2.AsyncClient, number: int, rng: Random) -> Resident:
    """A tenant whose names are its canary, and whose owner has logged in and subscribed."""
    tenant_id, canary = f"talk-{number}", rng.randbytes(16).hex()
    root = principal_of("root", tenant="local", tier=Tier.ENTERPRISE, admin=True)
    admin = {"Authorization": f"Bearer {local_token(hub.address, root)}"}
    owner = {"login": "owner", "name": canary, "password": PASSWORD}
    body = {"tenant_id": tenant_id, "name": canary, "tier": "enterprise", "owner": owner}
    await _done(client, f"{CONTROL}/tenants", body, headers=admin)
    login = {"tenant": tenant_id, "login": "owner", "password": PASSWORD}
    token = (await _done(client, f"{CONTROL}/auth/login", login))["access_token"]
    me = await client.get(f"{CONTROL}/me", headers={"Authorization": f"Bearer {token}"})
    digits, window = _features(rng)
    return Resident(tenant_id, me.json()["user_id"], canary, digits, window, token)


async def _done(
    client: httpx2.AsyncClient, path: str, body: dict[str, Any], *, headers: dict[str, str] | None = None
) -> Any:
    answer = await client.post(path, json=body, headers=headers)
    assert answer.is_success, answer.text
    return answer.json()


def _features(rng: Random) -> tuple[str, list[float]]:
    """Log returns of the size of the market's; the first one is written with digits that nothing else has."""
    digits = str(rng.randrange(10 ** (_DIGITS - 1), 10**_DIGITS))
    window = [rng.gauss(0, 1e-4) for _ in range(WINDOW - 1)]
    return digits, [float(f"1.{digits}e-4"), *window]
