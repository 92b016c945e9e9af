"""Rows of the people's tables with whatever a test does not care about filled in."""

from __future__ import annotations


def tenant_row(tenant_id: str, **given: object) -> dict[str, object]:
    """A tenant of the free tier."""
    row: dict[str, object] = {
        "tenant_id": tenant_id, "name": tenant_id, "tier": "free", "status": "active",
        "entitled_until_ns": 1, "created_ns": 1, "changed_ns": 1, "version": 1,
    }  # fmt: skip
    return row | given


def user_row(tenant_id: str, user_id: str, **given: object) -> dict[str, object]:
    """A user who logs in by the id."""
    row: dict[str, object] = {
        "tenant_id": tenant_id, "user_id": user_id, "login": user_id, "name": user_id,
        "roles": ["tenant:trader"], "enabled": True, "profile": {}, "not_before_ns": 0,
        "created_ns": 1, "changed_ns": 1, "version": 1,
    }  # fmt: skip
    return row | given


def session_row(tenant_id: str, session_id: str, **given: object) -> dict[str, object]:
    """A session that has just begun."""
    row: dict[str, object] = {
        "tenant_id": tenant_id, "session_id": session_id, "user_id": "u", "client": "test",
        "generation": 1, "secret_sha256": b"\0" * 32, "created_ns": 1, "refreshed_ns": 1, "expires_ns": 2,
    }  # fmt: skip
    return row | given
