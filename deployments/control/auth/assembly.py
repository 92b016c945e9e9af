"""Everything that lets people and programs in, put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from deployments.control.announcer import Announcer
from deployments.control.auth.api_keys import ApiKeyDesk
from deployments.control.auth.lockout import Lockout
from deployments.control.auth.login import LoginDesk
from deployments.control.auth.passwords import Passwords
from deployments.control.auth.session_tokens import SessionTokens
from deployments.control.auth.sessions import SessionDesk
from deployments.control.auth.source_rate import SourceRate
from deployments.control.auth.tidying import Tidying
from deployments.control.changes import Changes
from deployments.control.config import AuthConfig
from deployments.control.signing.key_desk import KeyDesk
from deployments.control.signing.signing import SigningKeys
from deployments.front.tenants_fold import TenantsFold
from storage.memory import MemoryFastStore
from storage.ports import FastStore
from storage.postgres.database import Database
from storage.sealing import Sealer


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthDesks:
    """What the routes of logins, sessions and keys call; `tidying` runs beside them."""

    login: LoginDesk
    tokens: SessionTokens
    sessions: SessionDesk
    api_keys: ApiKeyDesk
    signing: KeyDesk
    fold: TenantsFold
    tidying: Tidying


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthParts:
    """What they stand on. `clock` is wall time in nanoseconds; `rng` makes ids, never secrets."""

    database: Database
    changes: Changes
    announcer: Announcer
    passwords: Passwords
    sealer: Sealer
    fold: TenantsFold
    store: FastStore
    clock: Callable[[], int]
    rng: Random


def auth_desks(config: AuthConfig, on: AuthParts) -> AuthDesks:
    """The desks on these parts."""
    keys = SigningKeys(on.database, on.announcer, on.sealer, fold=on.fold, config=config, clock=on.clock)
    tokens = SessionTokens(on.changes, keys, config, rng=on.rng)
    login = LoginDesk(
        on.database,
        on.changes,
        on.passwords,
        tokens,
        lockout=Lockout(on.database, on.clock),
        rate=SourceRate(on.store, MemoryFastStore(on.clock)),
    )
    return AuthDesks(
        login=login,
        tokens=tokens,
        sessions=SessionDesk(on.database, on.changes, on.clock),
        api_keys=ApiKeyDesk(on.database, on.changes, on.rng, on.clock),
        signing=KeyDesk(on.changes, keys),
        fold=on.fold,
        tidying=Tidying(on.database, on.announcer, keys, clock=on.clock, rng=on.rng),
    )
