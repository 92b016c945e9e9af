"""Logging in and out, and the keys that tokens are signed with."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field
from starlette.requests import Request

from deployments.control.access import holding
from deployments.control.auth.lockout import source_of
from deployments.control.auth.login import LoginAsked, PasswordChange
from deployments.control.auth.session_tokens import TokenPair
from deployments.control.services import Control
from deployments.front.handlers import documented
from models.access import Permission
from models.base import Frozen
from models.principal import Principal

coming_in = APIRouter(tags=["auth"], responses=documented(400, 401, 403, 413, 422, 429, 500, 503))
router = APIRouter(tags=["auth"])

LOGIN: Final = "/auth/login"
REFRESH: Final = "/auth/refresh"
LOGOUT: Final = "/auth/logout"
KEY_SET: Final = "/.well-known/jwks.json"

Own = Annotated[Principal, Depends(holding(Permission.PROFILE_OWN))]
Platform = Annotated[Principal, Depends(holding(Permission.CONFIG_PLATFORM))]
Kid = Annotated[str, Path(min_length=1, max_length=128, description="The key's name")]


async def source_in(request: Request) -> str:
    """Where the request comes from: the other end of the connection, whatever its headers say."""
    return source_of(request.client.host if request.client else None)


Source = Annotated[str, Depends(source_in)]


class RefreshAsked(Frozen):
    """The newest refresh token of a session."""

    refresh_token: Annotated[str, Field(max_length=300, repr=False)]


class KeySet(Frozen):
    """RFC 7517: the public halves of the keys that tokens are signed with."""

    keys: tuple[dict[str, str], ...]


class Rotated(Frozen):
    """The key that signs next, and from when on."""

    kid: str
    signs_from_ns: int


@coming_in.post(LOGIN)
async def login(asked: LoginAsked, control: Control, source: Source) -> TokenPair:
    """Log in. After a few failures each further attempt waits longer; 429 says how long."""
    return await control.auth.login.login(asked, source)


@coming_in.post(REFRESH)
async def refresh(asked: RefreshAsked, control: Control) -> TokenPair:
    """The next pair of tokens, once. A refresh token that was used before ends its session: if the answer got
    lost, log in again.
    """
    return await control.auth.tokens.refresh(asked.refresh_token)


@coming_in.post(LOGOUT, status_code=204)
async def logout(asked: RefreshAsked, control: Control) -> Response:
    """End the session; its access tokens are refused everywhere within a second."""
    await control.auth.tokens.end(asked.refresh_token)
    return Response(status_code=204)


@coming_in.get(KEY_SET)
async def key_set(control: Control, response: Response) -> KeySet:
    """The keys that access tokens are verified with. Ask again at least every half minute, or for a name that
    you do not know.
    """
    response.headers["Cache-Control"] = "public, max-age=30"
    found = control.auth.fold.signing_keys.values()
    return KeySet(keys=tuple({**record.jwk, "kid": record.kid} for record in found))


@router.post("/auth/password", status_code=204)
async def change_password(asked: PasswordChange, caller: Own, control: Control, source: Source) -> Response:
    """Change one's own password; all other sessions end."""
    await control.auth.login.change_password(caller, asked, source)
    return Response(status_code=204)


@router.post("/auth/keys/rotate")
async def rotate_signing_key(caller: Platform, control: Control) -> Rotated:
    """Announce another key, which signs when everybody has it. Tokens of the others stay good."""
    key = await control.auth.signing.rotate(caller)
    return Rotated(kid=key.kid, signs_from_ns=key.signs_from_ns)


@router.delete("/auth/keys/{kid}", status_code=204)
async def remove_signing_key(kid: Kid, caller: Platform, control: Control) -> Response:
    """End a key that somebody else has got, and all tokens it signed, within a second."""
    await control.auth.signing.remove(caller, kid)
    return Response(status_code=204)
