"""Tenants, as the database keeps them and as every process knows them: the records of `hub.tenants`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import AfterValidator, Field, StringConstraints

from models.base import Frozen
from models.people import NewUser, User
from models.principal import Tier

PLATFORM_TENANT: Final = "platform"
"""The tenant whose people run the hub. It always exists, is never suspended and never deleted."""

TenantId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
EntitledUntil = Annotated[int, Field(ge=0, le=9_000_000_000 * 10**9)]
DisplayName = Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]


def _names_shared(config: dict[str, Any]) -> dict[str, Any]:
    return {sys.intern(name): value for name, value in config.items()}


OwnConfig = Annotated[dict[str, Any], AfterValidator(_names_shared)]
"""A layer by dotted name. All records share one object a name: a process keeps thousands of them."""


class TenantStatus(StrEnum):
    """`suspended` may be lifted; of one that is `deleted` only the name stays, never to be given again."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


class Tenant(Frozen):
    """A tenant. `version` grows with every change; of two copies the higher one is the newer."""

    tenant_id: TenantId
    name: DisplayName
    tier: Tier
    status: TenantStatus
    entitled_until_ns: int
    created_ns: int
    changed_ns: int
    version: int


class NewTenant(Frozen):
    """What is needed to make a tenant. An owner without a password is sent an invitation instead."""

    tenant_id: TenantId
    name: DisplayName
    tier: Tier = Tier.FREE
    owner: NewUser
    entitled_until_ns: EntitledUntil | None = None
    template: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")] | None = None


class TenantChange(Frozen):
    """What is to change of a tenant; what is not named stays."""

    name: DisplayName | None = None
    tier: Tier | None = None
    entitled_until_ns: EntitledUntil | None = None


class Provisioned(Frozen):
    """A new tenant, and its owner or the token of the owner's invitation, which is shown this once."""

    tenant: Tenant
    owner: User | None = None
    invitation: str | None = None


class TenantRecord(Frozen):
    """What every process must know of a tenant; value of `hub.tenants` under `tenant_key`.

    `config` is the tenant's own layer without secret values, `config_version` its version there.
    """

    schema_: Literal["hub.tenant/1"] = Field("hub.tenant/1", alias="schema")
    tenant_id: str
    tier: Tier
    status: TenantStatus
    entitled_until_ns: int
    version: int
    config: OwnConfig = Field(default_factory=dict)
    config_version: int = 0


class UserRecord(Frozen):
    """What every process must know of a user, where there is anything to know: that the user may not come in,
    that tokens from before a moment do not count any more, what the user's own layer of the config says.
    """

    schema_: Literal["hub.user/1"] = Field("hub.user/1", alias="schema")
    tenant_id: str
    user_id: str
    enabled: bool = True
    roles: tuple[str, ...] = ()
    not_before_ns: int = 0
    version: int = 0
    config: OwnConfig = Field(default_factory=dict)
    config_version: int = 0


class EndedSession(Frozen):
    """A session whose access tokens do not count any more; told until the last of them would have expired."""

    schema_: Literal["hub.ended-session/1"] = Field("hub.ended-session/1", alias="schema")
    session_id: str
    until_ns: int


class ApiKeyRecord(Frozen):
    """An API key that is good: SHA-256 of its 256 random bits, whose it is, and what it may do."""

    schema_: Literal["hub.api-key/1"] = Field("hub.api-key/1", alias="schema")
    key_id: str
    tenant_id: str
    user_id: str
    secret_sha256: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    expires_ns: int


class SigningKeyRecord(Frozen):
    """A key that tokens are verified with, as a JWK without its private part."""

    schema_: Literal["hub.signing-key/1"] = Field("hub.signing-key/1", alias="schema")
    kid: str
    jwk: dict[str, str]


class PlatformConfigRecord(Frozen):
    """One layer of the config above the tenants: `global`, `environment`, or the layer of a tier."""

    schema_: Literal["hub.platform-config/1"] = Field("hub.platform-config/1", alias="schema")
    layer: str
    config: dict[str, Any] = Field(default_factory=dict)
    config_version: int


TenantsRecord = (
    TenantRecord | UserRecord | EndedSession | ApiKeyRecord | SigningKeyRecord | PlatformConfigRecord
)


class Kind(StrEnum):
    """What a record of `hub.tenants` is about: the first part of its key."""

    TENANT = "tenant"
    USER = "user"
    SESSION = "session"
    API_KEY = "api_key"
    SIGNING_KEY = "signing_key"
    PLATFORM_CONFIG = "platform_config"


class Duty(StrEnum):
    """What is owed to the world outside the database after a change of a tenant: done at least once, from
    what the database says when it is done, so that doing it again does no harm.

    `halt`: whether the tenant's signals are stopped. `entitlement`: tier and end of what its users receive.
    `farewell`: what a deleted tenant leaves in `user.subscriptions`.
    """

    HALT = "halt"
    ENTITLEMENT = "entitlement"
    FAREWELL = "farewell"


RECORDS: Final[dict[Kind, type[TenantsRecord]]] = {
    Kind.TENANT: TenantRecord,
    Kind.USER: UserRecord,
    Kind.SESSION: EndedSession,
    Kind.API_KEY: ApiKeyRecord,
    Kind.SIGNING_KEY: SigningKeyRecord,
    Kind.PLATFORM_CONFIG: PlatformConfigRecord,
}


def tenants_key(kind: Kind, *ids: str) -> bytes:
    """The compaction key: a JSON array, so that no separator can be forged by an id. A tombstone forgets."""
    return orjson.dumps([kind, *ids])


def tenants_key_parts(key: bytes) -> tuple[Kind, tuple[str, ...]]:
    """Kind and ids of a key; ValueError if it is none."""
    parts = orjson.loads(key)
    if not (isinstance(parts, list) and len(parts) > 1 and all(isinstance(part, str) for part in parts)):
        raise ValueError(f"key was {key!r}; expected [kind, id, ...]")
    return Kind(parts[0]), tuple(parts[1:])
