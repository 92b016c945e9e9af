"""Who may do what on the control plane, once more: the application is held to it.

An operation that is not here fails the test, so that nobody adds one without deciding whose it is.
"""

from __future__ import annotations

from models.access import Permission

P = Permission

OPEN = frozenset(
    {
        "GET /health/live",
        "POST /invitations/accept",
        "POST /auth/login",
        "POST /auth/refresh",
        "POST /auth/logout",
        "GET /.well-known/jwks.json",
    }
)
"""For those who have no token yet."""

_TENANT = "/tenants/{tenant_id}"
_USER = f"{_TENANT}/users/{{user_id}}"

NEEDS: dict[str, frozenset[P]] = {
    operation: frozenset(needed if isinstance(needed, tuple) else (needed,))
    for operation, needed in {
        "GET /tenants": P.TENANTS_ALL,
        "POST /tenants": P.TENANTS_CREATE,
        f"GET {_TENANT}": P.TENANT_READ,
        f"PATCH {_TENANT}": P.TENANT_WRITE,
        f"PUT {_TENANT}/suspension": P.TENANT_SUSPEND,
        f"DELETE {_TENANT}/suspension": P.TENANT_SUSPEND,
        f"GET {_TENANT}/export": P.TENANT_DELETE,
        f"DELETE {_TENANT}": P.TENANT_DELETE,
        f"GET {_TENANT}/users": P.USERS_READ,
        f"POST {_TENANT}/users": P.USERS_WRITE,
        f"POST {_TENANT}/users/batch": P.USERS_WRITE,
        f"GET {_USER}": P.USERS_READ,
        f"PATCH {_USER}": P.USERS_WRITE,
        f"DELETE {_USER}": P.USERS_WRITE,
        "GET /me": P.PROFILE_OWN,
        "PATCH /me": P.PROFILE_OWN,
        f"POST {_TENANT}/invitations": P.USERS_WRITE,
        f"GET {_TENANT}/invitations": P.USERS_WRITE,
        f"DELETE {_TENANT}/invitations/{{invitation_id}}": P.USERS_WRITE,
        f"GET {_TENANT}/audit": P.AUDIT_READ,
        f"GET {_TENANT}/audit/head": P.AUDIT_READ,
        f"GET {_TENANT}/audit/verify": P.AUDIT_READ,
        "GET /platform/audit": P.AUDIT_PLATFORM,
        "GET /platform/audit/verify": P.AUDIT_PLATFORM,
        "POST /platform/audit/heads": P.AUDIT_PLATFORM,
        f"GET {_TENANT}/usage": P.USAGE_READ,
        f"GET {_TENANT}/usage/export": P.USAGE_READ,
        "GET /platform/usage": P.USAGE_PLATFORM,
        f"GET {_TENANT}/resources": (P.USAGE_READ, P.RESOURCES),
        f"POST {_TENANT}/resources/check": P.RESOURCES,
        f"POST {_TENANT}/leases": P.RESOURCES,
        f"PUT {_TENANT}/leases/{{lease_id}}": P.RESOURCES,
        f"DELETE {_TENANT}/leases/{{lease_id}}": P.RESOURCES,
        f"GET {_TENANT}/config": P.CONFIG_READ,
        f"PUT {_TENANT}/config": P.CONFIG_WRITE,
        f"PATCH {_TENANT}/config": P.CONFIG_WRITE,
        f"GET {_TENANT}/config/versions": P.CONFIG_READ,
        f"GET {_TENANT}/config/versions/{{version}}": P.CONFIG_READ,
        f"GET {_TENANT}/config/versions/{{before}}/diff/{{after}}": P.CONFIG_READ,
        f"POST {_TENANT}/config/rollback": P.CONFIG_WRITE,
        f"POST {_TENANT}/config/apply-template": P.CONFIG_WRITE,
        f"GET {_TENANT}/config/secrets/{{name}}": P.CONFIG_SECRETS,
        f"POST {_TENANT}/config/rotate-key": P.CONFIG_SECRETS,
        f"GET {_USER}/config": P.USERS_READ,
        f"PUT {_USER}/config": P.CONFIG_WRITE,
        f"PATCH {_USER}/config": P.CONFIG_WRITE,
        f"GET {_USER}/config/versions": P.USERS_READ,
        f"GET {_USER}/config/versions/{{version}}": P.USERS_READ,
        f"GET {_USER}/config/versions/{{before}}/diff/{{after}}": P.USERS_READ,
        f"POST {_USER}/config/rollback": P.CONFIG_WRITE,
        f"POST {_USER}/config/apply-template": P.CONFIG_WRITE,
        f"GET {_USER}/config/secrets/{{name}}": P.CONFIG_SECRETS,
        "GET /config-schema": P.CONFIG_READ,
        "GET /config-templates": P.CONFIG_READ,
        "GET /platform/config/{layer}": P.CONFIG_PLATFORM,
        "PUT /platform/config/{layer}": P.CONFIG_PLATFORM,
        "GET /platform/config/{layer}/versions": P.CONFIG_PLATFORM,
        "GET /platform/config/{layer}/versions/{before}/diff/{after}": P.CONFIG_PLATFORM,
        f"GET {_USER}/data/{{data_type}}": (P.DATA_OWN, P.DATA_ALL),
        f"GET {_USER}/data": (P.DATA_OWN, P.DATA_ALL),
        f"DELETE {_USER}/data": P.DATA_ALL,
        "GET /health": P.HUB_READ,
        "POST /auth/password": P.PROFILE_OWN,
        "POST /auth/keys/rotate": P.CONFIG_PLATFORM,
        "DELETE /auth/keys/{kid}": P.CONFIG_PLATFORM,
        f"GET {_TENANT}/sessions": P.SESSIONS_OWN,
        f"DELETE {_TENANT}/sessions/{{session_id}}": P.SESSIONS_OWN,
        f"GET {_TENANT}/keys": P.KEYS_OWN,
        f"POST {_TENANT}/keys": P.KEYS_OWN,
        f"POST {_TENANT}/keys/{{key_id}}/rotate": P.KEYS_OWN,
        f"DELETE {_TENANT}/keys/{{key_id}}": P.KEYS_OWN,
    }.items()
}
