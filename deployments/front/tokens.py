"""Bearer tokens (RFC 9068 access tokens) to principals. Identity comes from here and from nowhere else.

A key has one algorithm, fixed by configuration: HS256 with a shared secret for a local hub, RS256 or EdDSA
with an issuer's published keys, EdDSA with the hub's own. A token's own words about keys and algorithms
decide nothing. Every refusal is the same error, so that nobody can learn from it which check a forgery
failed; the reason goes to the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, Field, StrictFloat, StrictInt, StrictStr, ValidationError

from deployments.front.compact import parts_of
from deployments.front.keys import HubKeys, PublishedKeys, SharedSecret, VerificationKeys
from deployments.front.tenants_fold import TenantsFold
from deployments.front.verified import Known, VerifiedTokens
from models.access import Role
from models.base import Frozen
from models.errors import ConfigError, HubError, Unauthenticated
from models.ids import checked_user_id
from models.principal import Principal, Tier
from models.secret import SecretRef

_LOG = logging.getLogger(__name__)

TOKEN_TYPES: Final = ("at+jwt", "application/at+jwt")
_HEADERS: Final = frozenset({"alg", "typ", "kid", "x5t", "x5t#S256"})
"""Everything else in a header asks the verifier to fetch, trust or understand something: refused."""
_REQUIRED: Final = ("exp", "iss", "aud", "sub")
_REQUIRED_OF_HUB: Final = (*_REQUIRED, "iat", "jti", "sid", "roles")
_FORMER_ROLES: Final = {"service": Role.SERVICE.value}
"""What roles were called before tenants had their own."""
REFUSAL: Final = "send a valid access token as `Authorization: Bearer <token>`"

Roles = tuple[StrictStr, ...]


class _Audience(Frozen):
    issuer: str = "central-hub"
    audience: str = "central-hub-api"
    leeway_s: Annotated[int, Field(ge=0, le=60)] = 30


class _Foreign(_Audience):
    """`default_roles` has a token that says nothing of roles; one that says it has none has none."""

    default_roles: Roles = (Role.TRADER.value,)


class LocalTokens(_Foreign):
    """Tokens made by `hub token` with a shared secret of at least 32 bytes."""

    kind: Literal["hs256"] = "hs256"
    secret: SecretRef


class IssuedTokens(_Foreign):
    """Tokens of an identity provider that publishes its keys at `jwks_url`.

    One that names `tenants` speaks for the users of these alone, and for nobody of the platform: a customer's
    own provider cannot make itself heard in another customer's name.
    """

    kind: Literal["rs256", "eddsa"] = "rs256"
    jwks_url: str
    tenants: tuple[str, ...] = ()


class HubTokens(_Audience):
    """Tokens of `POST /auth/login`, each of a session that can be ended."""

    kind: Literal["hub"] = "hub"
    issuer: str = "central-hub/accounts"


TokenConfig = Annotated[LocalTokens | IssuedTokens, Field(discriminator="kind")]
AnyTokens = LocalTokens | IssuedTokens | HubTokens


class _Claims(BaseModel):
    """What must be in a token beside what PyJWT checks. Deny by default: tenant and tier have no default."""

    sub: StrictStr
    tenant: Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    tier: Tier
    roles: Roles | None = None
    entitled_until: Annotated[int, Field(strict=True, ge=0, le=9_000_000_000)]
    exp: StrictInt | StrictFloat
    iat: StrictInt | StrictFloat | None = None
    sid: Annotated[str, Field(strict=True, pattern=r"^[a-z0-9-]{1,64}$")] | None = None

    @property
    def issued_us(self) -> int | None:
        """Microseconds, which is what a NumericDate tells exactly."""
        return None if self.iat is None else round(self.iat * 1e6)

    def principal(self, *, default_roles: Roles, session: bool) -> Principal:
        """A session is believed to be one only where the hub says so."""
        roles = default_roles if self.roles is None else self.roles
        return Principal(
            user_id=checked_user_id(self.sub),
            tenant_id=self.tenant,
            tier=self.tier,
            roles=frozenset(_FORMER_ROLES.get(role, role) for role in roles),
            entitled_until_ns=self.entitled_until * 1_000_000_000,
            session_id=self.sid if session else None,
        )


class Tokens(Protocol):
    """Says whose a bearer token is: `TokenVerifier` for one issuer, `deployments.front.callers` for all."""

    async def verify(self, bearer: str) -> Principal:
        """The principal of a token; Unauthenticated, always in the same words, for anything else."""
        ...

    async def known(self, bearer: str) -> Known:
        """The principal and the end of a token; Unauthenticated as `verify`."""
        ...


class TokenVerifier:
    """Verifies tokens of one issuer for one audience. Building one refuses weak secrets (ConfigError); the
    hub's own tokens need `fold`, where their keys are.
    """

    def __init__(
        self, config: AnyTokens, keys: VerificationKeys | None = None, *, fold: TenantsFold | None = None
    ) -> None:
        self._config = config
        self._keys = keys or _keys_of(config, fold)
        self._known = VerifiedTokens(time.time)

    @property
    def issuer(self) -> str:
        return self._config.issuer

    async def verify(self, bearer: str) -> Principal:
        return (await self.known(bearer)).principal

    def has_seen(self, bearer: str) -> bool:
        """Whether this very token was verified a moment ago."""
        return self._known.find(bearer) is not None

    async def known(self, bearer: str) -> Known:
        try:
            known = self._known.find(bearer)
            if known and await self._keys.find(known.kid) is known.key:
                return known
            return await self._verified(bearer)
        except (jwt.InvalidTokenError, ValidationError, HubError, ValueError, RecursionError) as error:
            _LOG.info("token refused: %s", type(error).__name__)
            raise unauthenticated() from None

    async def _verified(self, bearer: str) -> Known:
        header, payload = parts_of(bearer)
        unknown = set(header) - _HEADERS
        if unknown or header.get("alg") != self._keys.algorithm:
            raise jwt.InvalidTokenError("algorithm or header parameter refused")
        if str(header.get("typ")).lower() not in TOKEN_TYPES:
            raise jwt.InvalidTokenError("not an access token")
        kid = header.get("kid")
        key = await self._keys.find(kid)
        of_hub = isinstance(self._config, HubTokens)
        jwt.decode(
            bearer,
            key,
            algorithms=[self._keys.algorithm],
            audience=self._config.audience,
            issuer=self._config.issuer,
            leeway=self._config.leeway_s,
            options={"require": list(_REQUIRED_OF_HUB if of_hub else _REQUIRED)},
        )
        claims = _Claims.model_validate(payload)
        return self._known.keep(
            bearer,
            self._principal(claims),
            expires_s=claims.exp + self._config.leeway_s,
            kid=kid,
            key=key,
            issued_us=claims.issued_us,
            of_hub=of_hub,
        )

    def _principal(self, claims: _Claims) -> Principal:
        if isinstance(self._config, HubTokens):
            return claims.principal(default_roles=(), session=True)
        principal = claims.principal(default_roles=self._config.default_roles, session=False)
        confined = self._config.tenants if isinstance(self._config, IssuedTokens) else ()
        if confined and (principal.tenant_id not in confined or principal.platform_permissions):
            raise jwt.InvalidTokenError("not the issuer of this tenant's tokens")
        return principal


def bearer_of(values: Sequence[str]) -> str:
    """The token of the one Authorization header; Unauthenticated for none, two, or another scheme."""
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise unauthenticated()
    return token.strip()


class NotKnownYet(Unauthenticated):
    """Nothing else to the caller; to the room it says that its copy of `hub.tenants` may only be behind."""


def unauthenticated() -> Unauthenticated:
    """The one answer to a missing, forged, foreign or expired token."""
    return Unauthenticated(REFUSAL)


def mint(principal: Principal, config: LocalTokens, *, now_s: int, ttl_s: int) -> str:
    """A token for the principal, signed with the local secret and valid for `ttl_s` seconds."""
    secret = SharedSecret.checked(config.secret.resolve())
    claims = _claims_of(principal, config) | {"iat": now_s, "exp": now_s + ttl_s}
    return jwt.encode(claims, secret, algorithm=SharedSecret.algorithm, headers={"typ": TOKEN_TYPES[0]})


def mint_of_hub(
    principal: Principal,
    config: HubTokens,
    key: Ed25519PrivateKey,
    *,
    kid: str,
    token_id: str,
    now_ns: int,
    ttl_s: int,
) -> str:
    """A token of the principal's session, signed with one of the hub's keys."""
    claims = _claims_of(principal, config) | {
        "sid": principal.session_id,
        "jti": token_id,
        "iat": now_ns // 1000 / 1e6,
        "exp": now_ns // 10**9 + ttl_s,
    }
    headers = {"typ": TOKEN_TYPES[0], "kid": kid}
    return jwt.encode(claims, key, algorithm=HubKeys.algorithm, headers=headers)


def _claims_of(principal: Principal, config: _Audience) -> dict[str, Any]:
    return {
        "iss": config.issuer,
        "aud": config.audience,
        "sub": principal.user_id,
        "tenant": principal.tenant_id,
        "tier": principal.tier.value,
        "roles": sorted(principal.roles),
        "entitled_until": principal.entitled_until_ns // 1_000_000_000,
    }


def _keys_of(config: AnyTokens, fold: TenantsFold | None) -> VerificationKeys:
    if isinstance(config, LocalTokens):
        return SharedSecret(config.secret.resolve())
    if isinstance(config, IssuedTokens):
        return PublishedKeys(config.jwks_url, algorithm="EdDSA" if config.kind == "eddsa" else "RS256")
    if fold is None:
        raise ConfigError("tokens of the hub itself need the copy of hub.tenants, where their keys are")
    return HubKeys(fold)
