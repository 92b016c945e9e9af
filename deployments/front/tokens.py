"""Bearer tokens (RFC 9068 access tokens) to principals. Identity comes from here and from nowhere else.

A key has one algorithm, fixed by configuration: HS256 with a shared secret for a local hub, or RS256 with the
issuer's published keys. A token's own words about keys and algorithms decide nothing. Every refusal is the
same error, so that nobody can learn from it which check a forgery failed; the reason goes to the log.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import jwt
from jwt.utils import base64url_decode
from pydantic import BaseModel, Field, StrictFloat, StrictInt, StrictStr, ValidationError

from deployments.front.keys import PublishedKeys, SharedSecret, VerificationKeys
from deployments.front.verified import Known, VerifiedTokens
from models.base import Frozen
from models.errors import HubError, Unauthenticated
from models.ids import checked_user_id
from models.principal import Principal, Tier
from models.secret import SecretRef

_LOG = logging.getLogger(__name__)

MAX_TOKEN_CHARS: Final = 8192
TOKEN_TYPES: Final = ("at+jwt", "application/at+jwt")
_HEADERS: Final = frozenset({"alg", "typ", "kid", "x5t", "x5t#S256"})
"""Everything else in a header asks the verifier to fetch, trust or understand something: refused."""
_REQUIRED: Final = ("exp", "iss", "aud", "sub")


class _Audience(Frozen):
    issuer: str = "central-hub"
    audience: str = "central-hub-api"
    leeway_s: Annotated[int, Field(ge=0, le=60)] = 30


class LocalTokens(_Audience):
    """Tokens made by `hub token` with a shared secret of at least 32 bytes."""

    kind: Literal["hs256"] = "hs256"
    secret: SecretRef


class IssuedTokens(_Audience):
    """Tokens of an identity provider that publishes its keys at `jwks_url`."""

    kind: Literal["rs256"] = "rs256"
    jwks_url: str


TokenConfig = Annotated[LocalTokens | IssuedTokens, Field(discriminator="kind")]


class _Claims(BaseModel):
    """What must be in a token beside what PyJWT checks. Deny by default: tenant and tier have no default."""

    sub: StrictStr
    tenant: Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    tier: Tier
    roles: tuple[StrictStr, ...] = ()
    entitled_until: Annotated[int, Field(strict=True, ge=0, le=9_000_000_000)]
    exp: StrictInt | StrictFloat

    def principal(self) -> Principal:
        return Principal(
            user_id=checked_user_id(self.sub),
            tenant_id=self.tenant,
            tier=self.tier,
            roles=frozenset(self.roles),
            entitled_until_ns=self.entitled_until * 1_000_000_000,
        )


class TokenVerifier:
    """Verifies tokens of one issuer for one audience. Building one refuses weak secrets (ConfigError)."""

    def __init__(self, config: LocalTokens | IssuedTokens, keys: VerificationKeys | None = None) -> None:
        self._config = config
        self._keys = keys or _keys_of(config)
        self._known = VerifiedTokens(time.time)

    async def verify(self, bearer: str) -> Principal:
        """The principal of a token; Unauthenticated, always in the same words, for anything else."""
        return (await self.known(bearer)).principal

    async def known(self, bearer: str) -> Known:
        """The principal and the end of a token; Unauthenticated as `verify`."""
        try:
            known = self._known.find(bearer)
            if known and await self._keys.find(known.kid) is known.key:
                return known
            return await self._verified(bearer)
        except (jwt.InvalidTokenError, ValidationError, HubError, ValueError, RecursionError) as error:
            _LOG.info("token refused: %s", type(error).__name__)
            raise unauthenticated() from None

    async def _verified(self, bearer: str) -> Known:
        header, payload = _parts(bearer)
        unknown = set(header) - _HEADERS
        if unknown or header.get("alg") != self._keys.algorithm:
            raise jwt.InvalidTokenError("algorithm or header parameter refused")
        if str(header.get("typ")).lower() not in TOKEN_TYPES:
            raise jwt.InvalidTokenError("not an access token")
        kid = header.get("kid")
        key = await self._keys.find(kid)
        jwt.decode(
            bearer,
            key,
            algorithms=[self._keys.algorithm],
            audience=self._config.audience,
            issuer=self._config.issuer,
            leeway=self._config.leeway_s,
            options={"require": list(_REQUIRED)},
        )
        claims = _Claims.model_validate(payload)
        principal = claims.principal()
        expires_s = claims.exp + self._config.leeway_s
        return self._known.keep(bearer, principal, expires_s=expires_s, kid=kid, key=key)


def bearer_of(values: Sequence[str]) -> str:
    """The token of the one Authorization header; Unauthenticated for none, two, or another scheme."""
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise unauthenticated()
    return token.strip()


def unauthenticated() -> Unauthenticated:
    """The one answer to a missing, forged, foreign or expired token."""
    return Unauthenticated("send a valid access token as `Authorization: Bearer <token>`")


def mint(principal: Principal, config: LocalTokens, *, now_s: int, ttl_s: int) -> str:
    """A token for the principal, signed with the local secret and valid for `ttl_s` seconds."""
    secret = SharedSecret.checked(config.secret.resolve())
    claims = {
        "iss": config.issuer,
        "aud": config.audience,
        "sub": principal.user_id,
        "tenant": principal.tenant_id,
        "tier": principal.tier.value,
        "roles": sorted(principal.roles),
        "entitled_until": principal.entitled_until_ns // 1_000_000_000,
        "iat": now_s,
        "exp": now_s + ttl_s,
    }
    return jwt.encode(claims, secret, algorithm=SharedSecret.algorithm, headers={"typ": "at+jwt"})


def _keys_of(config: LocalTokens | IssuedTokens) -> VerificationKeys:
    if isinstance(config, LocalTokens):
        return SharedSecret(config.secret.resolve())
    return PublishedKeys(config.jwks_url)


def _parts(bearer: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and payload, unverified; ValueError if they are too long, no objects, or say anything twice."""
    segments = bearer.split(".") if len(bearer) <= MAX_TOKEN_CHARS else []
    if len(segments) != 3:
        raise ValueError("not a compact token")
    return _object(segments[0]), _object(segments[1])


def _object(segment: str) -> Mapping[str, Any]:
    content = json.loads(
        base64url_decode(segment), object_pairs_hook=_without_repeats, parse_constant=_no_constant
    )
    if not isinstance(content, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the input is wrong, not the caller
    return content


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name occurs twice")
    return content


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
