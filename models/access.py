"""Roles and what each may do: the one matrix, as data. What no role here names is refused.

Platform roles act on every tenant; tenant roles on their own alone. Their names in tokens differ (`admin` is
the platform's, `tenant:admin` a tenant's), so that nobody becomes the one by being given the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """One thing that may be done. Those of a caller's own (`*_OWN`) never reach beyond the caller."""

    INFER = "infer"
    MODELS_READ = "models:read"
    SIGNALS_OWN = "signals:own"
    SUBSCRIBE_OWN = "subscriptions:own"
    EVENTS_OWN = "events:own"
    EVENTS_WRITE = "events:write"
    MODELS_WRITE = "models:write"
    HALTS_WRITE = "halts:write"
    HUB_READ = "hub:read"
    TENANTS_ALL = "tenants:all"
    TENANTS_CREATE = "tenants:create"
    TENANT_READ = "tenant:read"
    TENANT_WRITE = "tenant:write"
    TENANT_TIER = "tenant:tier"
    TENANT_SUSPEND = "tenant:suspend"
    TENANT_DELETE = "tenant:delete"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    PROFILE_OWN = "profile:own"
    KEYS_OWN = "keys:own"
    KEYS_ALL = "keys:all"
    SESSIONS_OWN = "sessions:own"
    SESSIONS_ALL = "sessions:all"
    CONFIG_READ = "config:read"
    CONFIG_WRITE = "config:write"
    CONFIG_SECRETS = "config:secrets"
    CONFIG_PLATFORM = "config:platform"
    RESOURCES = "resources:use"
    AUDIT_READ = "audit:read"
    AUDIT_PLATFORM = "audit:platform"
    USAGE_READ = "usage:read"
    USAGE_PLATFORM = "usage:platform"
    DATA_OWN = "data:own"
    DATA_ALL = "data:all"


class Role(StrEnum):
    """A role as it stands in a token."""

    ADMIN = "admin"
    OPERATOR = "operator"
    TENANT_OWNER = "tenant:owner"
    TENANT_ADMIN = "tenant:admin"
    TRADER = "tenant:trader"
    VIEWER = "tenant:viewer"
    SERVICE = "tenant:service"

    @property
    def of_platform(self) -> bool:
        return self in {Role.ADMIN, Role.OPERATOR}


_P = Permission
_EVERYBODY: Final = frozenset(
    {_P.MODELS_READ, _P.SIGNALS_OWN, _P.EVENTS_OWN, _P.TENANT_READ, _P.CONFIG_READ, _P.DATA_OWN}
) | {_P.PROFILE_OWN, _P.SESSIONS_OWN}
_TRADER: Final = _EVERYBODY | {_P.INFER, _P.SUBSCRIBE_OWN, _P.KEYS_OWN}
_TENANT_ADMIN: Final = _TRADER | {
    _P.TENANT_WRITE,
    _P.USERS_READ,
    _P.USERS_WRITE,
    _P.KEYS_ALL,
    _P.SESSIONS_ALL,
    _P.CONFIG_WRITE,
    _P.RESOURCES,
    _P.AUDIT_READ,
    _P.USAGE_READ,
    _P.DATA_ALL,
}
_OPERATOR: Final = _EVERYBODY | {
    _P.INFER,
    _P.SUBSCRIBE_OWN,
    _P.KEYS_OWN,
    _P.HUB_READ,
    _P.HALTS_WRITE,
    _P.TENANTS_ALL,
    _P.TENANT_SUSPEND,
    _P.USERS_READ,
    _P.SESSIONS_ALL,
    _P.AUDIT_READ,
    _P.AUDIT_PLATFORM,
    _P.USAGE_READ,
    _P.USAGE_PLATFORM,
}

ROLES: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.ADMIN: frozenset(Permission),
    Role.OPERATOR: _OPERATOR,
    Role.TENANT_OWNER: _TENANT_ADMIN | {_P.TENANT_DELETE, _P.CONFIG_SECRETS},
    Role.TENANT_ADMIN: _TENANT_ADMIN,
    Role.TRADER: _TRADER,
    Role.VIEWER: _EVERYBODY,
    Role.SERVICE: _TRADER | {_P.EVENTS_WRITE, _P.RESOURCES, _P.CONFIG_SECRETS},
}

GRANTS: Final[Mapping[Role, frozenset[Role]]] = {
    Role.ADMIN: frozenset(Role),
    Role.TENANT_OWNER: frozenset(role for role in Role if not role.of_platform),
    Role.TENANT_ADMIN: frozenset({Role.TRADER, Role.VIEWER, Role.SERVICE}),
}
"""Which roles the holder of a role may give and take. Nobody gives what is stronger than their own."""


def permissions_of(roles: Iterable[str]) -> frozenset[Permission]:
    """Everything the roles allow together; a role that is not known allows nothing."""
    known = {role.value: allowed for role, allowed in ROLES.items()}
    return frozenset().union(*(known.get(role, frozenset()) for role in roles))


def platform_permissions_of(roles: Iterable[str]) -> frozenset[Permission]:
    """What the platform roles among them allow: these hold in every tenant."""
    return permissions_of(role for role in roles if role in {Role.ADMIN, Role.OPERATOR})


def may_grant(roles: Iterable[str], wanted: Iterable[Role]) -> bool:
    """Whether the holder of these roles may give or take all of the wanted ones."""
    known = {role.value: given for role, given in GRANTS.items()}
    allowed = frozenset().union(*(known.get(role, frozenset()) for role in roles))
    return frozenset(wanted) <= allowed
