"""How a command gets its token: given, or made with the local secret of the hub that runs here."""

from __future__ import annotations

import time
from typing import Final

from deployments.front.tokens import LocalTokens, mint
from models.access import Role
from models.errors import ConfigError
from models.ids import checked_user_id
from models.principal import Principal, Tier
from models.secret import SecretRef
from serve_app.runfile import RunningHub

DAY_S: Final = 86_400


def principal_of(
    user: str, *, tenant: str, tier: Tier, admin: bool = False, entitled_s: int = 30 * DAY_S
) -> Principal:
    """A principal for local tokens, entitled from now on: a trader, or an admin of the platform."""
    return Principal(
        user_id=checked_user_id(user),
        tenant_id=tenant,
        tier=tier,
        roles=frozenset({Role.ADMIN if admin else Role.TRADER}),
        entitled_until_ns=time.time_ns() + entitled_s * 1_000_000_000,
    )


def local_token(hub: RunningHub, principal: Principal, *, ttl_s: int = DAY_S) -> str:
    """A token that this hub accepts; ConfigError if its tokens come from an external issuer."""
    if hub.secret_file is None:
        raise ConfigError(
            "this hub's tokens come from an external issuer; give one with --token or HUB_TOKEN"
        )
    tokens = LocalTokens(secret=SecretRef(file=hub.secret_file))
    return mint(principal, tokens, now_s=int(time.time()), ttl_s=ttl_s)
