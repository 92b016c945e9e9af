"""How people and programs come in: login sessions and API keys, as they are shown, without their secrets."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from models.access import Permission
from models.base import Frozen

KeyName = Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]


def _sorted(scopes: tuple[Permission, ...]) -> tuple[Permission, ...]:
    return tuple(sorted(set(scopes)))


Scopes = Annotated[
    tuple[Permission, ...], Field(min_length=1, max_length=len(Permission)), AfterValidator(_sorted)
]


class LoginSession(Frozen):
    """A family of refresh tokens, begun by one login. `client` is what that program said of itself."""

    tenant_id: str
    session_id: str
    user_id: str
    client: str
    generation: int
    created_ns: int
    refreshed_ns: int
    expires_ns: int
    ended_ns: int | None = None
    ended_because: str | None = None


class ApiKey(Frozen):
    """A key of a user for a program, confined to `scopes`. `prefix` is what its secret begins with."""

    tenant_id: str
    key_id: str
    user_id: str
    name: str
    scopes: Scopes
    created_ns: int
    expires_ns: int
    revoked_ns: int | None = None

    @property
    def prefix(self) -> str:
        return f"hubk_{self.key_id}_"
