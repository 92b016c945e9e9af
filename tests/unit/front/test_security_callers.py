"""Scorecard S5 and S6 for tokens that the hub issues, several issuers side by side, and API keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deployments.front.callers import CallerVerifier, callers_of
from deployments.front.keys import RETRY_S, PublishedKeys
from deployments.front.tokens import HubTokens, IssuedTokens, LocalTokens, TokenVerifier, mint
from models.errors import ConfigError, Unauthenticated
from models.principal import Principal
from tests.unit.front.accounts import HUB, SECRET, SESSION, Accounts, jwk_of
from tests.unit.gateway.doubles import SECRET as LOCAL_SECRET
from tests.unit.gateway.doubles import TOKENS, principal

NOW_S: Final = int(time.time())
JWKS_URL: Final = "https://issuer.example/jwks"
Forge = Callable[[Accounts], str]


def claims(**change: Any) -> dict[str, Any]:
    """Those of a good token of the hub; one that is None is left out."""
    good = {
        "iss": HUB.issuer,
        "aud": HUB.audience,
        "sub": "alice",
        "tenant": "acme",
        "tier": "pro",
        "roles": ["tenant:trader"],
        "entitled_until": NOW_S + 36_000,
        "iat": NOW_S,
        "exp": NOW_S + 36_000,
        "jti": "t",
        "sid": SESSION,
    } | change
    return {name: value for name, value in good.items() if value is not None}


def signed(accounts: Accounts, header: dict[str, Any] | None = None, **change: Any) -> str:
    """A token with the hub's own signature, whatever it says."""
    headers = {"typ": "at+jwt", "kid": "k1"} | (header or {})
    kept = {name: value for name, value in headers.items() if value is not None}
    body = json.dumps(claims(**change)).encode()
    return jwt.api_jws.encode(body, accounts.keys["k1"], algorithm="EdDSA", headers=kept)


def hs256(secret: bytes, header: dict[str, Any], **change: Any) -> str:
    """A token signed by hand with a shared secret."""
    parts = ({"alg": "HS256", "typ": "at+jwt"} | header, claims(**change))
    text = ".".join(_b64(json.dumps(part).encode()) for part in parts)
    return f"{text}.{_b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def public(accounts: Accounts, form: serialization.Encoding) -> bytes:
    """The hub's public key, as everybody can have it."""
    return (
        accounts.keys["k1"].public_key().public_bytes(form, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def by_another(kid: str | None, **header: Any) -> Forge:
    """Signed by a key that is not the hub's."""

    def forge(accounts: Accounts) -> str:
        headers = {"typ": "at+jwt"} | ({"kid": kid} if kid else {}) | header
        return jwt.encode(claims(), Ed25519PrivateKey.generate(), algorithm="EdDSA", headers=headers)

    return forge


def _b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
FORGED: Final[dict[str, Forge]] = {
    "alg none": lambda _: (
        f"{_b64(json.dumps({'alg': 'none', 'typ': 'at+jwt', 'kid': 'k1'}).encode())}."
        f"{_b64(json.dumps(claims()).encode())}."
    ),
    "HS256 with the PEM": lambda a: hs256(public(a, PEM), {"kid": "k1"}),
    "HS256 with the DER": lambda a: hs256(public(a, DER), {"kid": "k1"}),
    "HS256 with the JWK": lambda a: hs256(json.dumps(jwk_of(a.keys["k1"])).encode(), {"kid": "k1"}),
    "HS256 with the raw point": lambda a: hs256(a.keys["k1"].public_key().public_bytes_raw(), {"kid": "k1"}),
    "EdDSA in the header, HMAC inside": lambda a: hs256(public(a, PEM), {"alg": "EdDSA", "kid": "k1"}),
    "the local secret in the hub's name": lambda _: hs256(LOCAL_SECRET.encode(), {}),
    "the hub's key in the local name": lambda a: signed(a, iss=TOKENS.issuer),
    "another key": by_another("k1"),
    "another key, embedded": by_another("k1", jwk={"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}),
    "another key, at an address": by_another("k1", jku="https://evil.example/jwks"),
    "unknown key": by_another("another"),
    "no key named": by_another(None),
    "kid traversal": by_another("../../../../dev/null"),
    "kid SQL": by_another("x' UNION SELECT 'k1"),
    "kid a number": lambda a: hs256(b"x", {"alg": "EdDSA", "kid": 0}),
    "kid of nobody": lambda a: signed(a, {"kid": ""}),
    "x5u": lambda a: signed(a, {"x5u": "https://evil.example/cert"}),
    "crit": lambda a: signed(a, {"crit": ["exp"]}),
    "typ JWT": lambda a: signed(a, {"typ": "JWT"}),
    "typ ID token": lambda a: signed(a, {"typ": "id+jwt"}),
    "typ of a refresh token": lambda a: signed(a, {"typ": "rt+jwt"}),
    "no issuer": lambda a: signed(a, iss=None),
    "issuer a list": lambda a: signed(a, iss=[HUB.issuer]),
    "issuer of nobody": lambda a: signed(a, iss="https://evil.example"),
    "wrong audience": lambda a: signed(a, aud="another-api"),
    "no audience": lambda a: signed(a, aud=None),
    "no subject": lambda a: signed(a, sub=None),
    "no expiry": lambda a: signed(a, exp=None),
    "expired": lambda a: signed(a, exp=NOW_S - 120),
    "issued in the future": lambda a: signed(a, iat=NOW_S + 600_000),
    "no time of issue": lambda a: signed(a, iat=None),
    "no session": lambda a: signed(a, sid=None),
    "session a list": lambda a: signed(a, sid=[SESSION]),
    "session with a path": lambda a: signed(a, sid="../" + SESSION),
    "no token id": lambda a: signed(a, jti=None),
    "no roles": lambda a: signed(a, roles=None),
    "no tenant": lambda a: signed(a, tenant=None),
    "a tenant that is not there": lambda a: signed(a, tenant="nobody"),
    "no tier": lambda a: signed(a, tier=None),
    "one megabyte": lambda a: signed(a, padding="x" * 1_000_000),
    "a refresh token": lambda _: f"hrt.acme.{SESSION}.1.{'s' * 43}",
}
KEYS: Final[dict[str, Forge]] = {
    "no parts": lambda _: "hubk_",
    "no secret": lambda a: a.api_key().rsplit("_", 1)[0] + "_",
    "another secret": lambda a: a.api_key()[:-1] + "x",
    "the hash for the secret": lambda a: f"{a.api_key()[:22]}{hashlib.sha256(SECRET.encode()).hexdigest()}",
    "unknown id": lambda a: a.api_key().replace("k" * 16, "z" * 16),
    "id with a separator": lambda a: a.api_key().replace("k" * 16, '","'),
    "another's id": lambda a: (a.api_key("b" * 16, secret="t" * 43), a.api_key())[1].replace(
        "k" * 16, "b" * 16
    ),
    "expired": lambda a: a.api_key(expires_ns=1),
    "of a tenant that is not there": lambda a: a.api_key(tenant_id="nobody"),
    "of a disabled user": lambda a: a.api_key(user_id=a.disabled("bob")),
    "not in ASCII": lambda a: a.api_key()[:-1] + "é",
    "a line too long": lambda a: a.api_key() + "\n",
    "one megabyte": lambda _: f"hubk_{'k' * 16}_{'s' * 1_000_000}",
    "in capitals": lambda a: a.api_key().upper(),
}
ALL: Final = {**FORGED, **{f"API key: {name}": forge for name, forge in KEYS.items()}}


async def test_good_ones_are_accepted() -> None:
    """Otherwise the refusals below would prove nothing: by hand, by hub and local secret, and a key."""
    accounts = Accounts()
    local = mint(principal(), TOKENS, now_s=NOW_S, ttl_s=36_000)
    callers = accounts.callers()

    for good in (signed(accounts), accounts.token(), local, accounts.api_key()):
        assert (await callers.verify(good)).user_id == "alice"


@pytest.mark.parametrize("forge", ALL.values(), ids=ALL)
async def test_every_forgery_gets_the_same_refusal(forge: Forge) -> None:
    """More than 50 kinds: Unauthenticated in the words for no token at all."""
    assert len(ALL) >= 50
    accounts = Accounts()
    callers = accounts.callers()
    with pytest.raises(Unauthenticated) as refused:
        await callers.verify(forge(accounts))
    with pytest.raises(Unauthenticated) as nothing:
        await callers.verify("")

    assert refused.value.message == nothing.value.message
    assert refused.value.code == nothing.value.code


async def test_a_key_may_do_what_scopes_and_roles_both_allow() -> None:
    """Roles that are taken away take from the key; scopes beyond the roles give nothing."""
    accounts = Accounts()
    token = accounts.api_key(scopes=("infer", "models:read", "tenants:all", "nonsense"))
    callers = accounts.callers()

    assert (await callers.verify(token)).permissions == {"infer", "models:read"}
    accounts.user(roles=("tenant:viewer",))
    assert (await callers.verify(token)).permissions == {"models:read"}
    accounts.user(roles=("admin",))
    confined: Principal = await callers.verify(token)
    assert confined.permissions == confined.platform_permissions == {"infer", "models:read", "tenants:all"}


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "oct", "k": _b64(b"k" * 32)},
        {"crv": "X25519"},
        {"x": "AAAA"},
        {"alg": "HS256"},
        {"use": "enc"},
    ],
    ids=str,
)
async def test_a_signing_key_that_eddsa_must_not_use_verifies_nothing(change: dict[str, str]) -> None:
    """Whatever the log says."""
    accounts = Accounts()
    accounts.signing_key("k2", **change)
    with pytest.raises(Unauthenticated):
        await accounts.callers().verify(accounts.token(kid="k2"))


async def test_a_flood_of_unknown_keys_asks_nobody() -> None:
    """10,000 names: the hub's own keys are looked up here, the issuer is asked once in thirty seconds."""
    accounts, asked, now_s = Accounts(), 0, 0.0

    async def fetch(_: str) -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"keys": []}

    issued = IssuedTokens(issuer="https://issuer.example", jwks_url=JWKS_URL)
    published = PublishedKeys(JWKS_URL, fetch=fetch, monotonic=lambda: now_s)
    callers = CallerVerifier([TokenVerifier(HUB, fold=accounts.fold), TokenVerifier(issued, published)])
    for number in range(5_000):
        for issuer, alg in ((HUB.issuer, "EdDSA"), (issued.issuer, "RS256")):
            with pytest.raises(Unauthenticated):
                await callers.verify(hs256(b"x", {"alg": alg, "kid": f"kid-{number}"}, iss=issuer))
        now_s += 60 / 5_000

    assert asked <= 60 / RETRY_S + 1
    assert (await callers.verify(accounts.token())).user_id == "alice"


async def test_two_issuers_of_one_name_refuse_the_start() -> None:
    """Or one could speak for the other; and none at all would let nobody in."""
    accounts = Accounts()
    with pytest.raises(ConfigError, match="central-hub"):
        callers_of((TOKENS, HubTokens(issuer=TOKENS.issuer)), accounts.fold)
    with pytest.raises(ConfigError):
        callers_of((), accounts.fold)
    with pytest.raises(ConfigError, match=r"hub\.tenants"):
        callers_of((TOKENS, HUB), None)


async def test_without_a_copy_of_the_tenants_a_hub_accepts_what_it_did() -> None:
    """Its local tokens; no API keys, and no questions about tenants."""
    callers = callers_of((TOKENS,), None)
    local = mint(principal(tenant="anyone"), TOKENS, now_s=NOW_S, ttl_s=36_000)

    assert (await callers.verify(local)).tenant_id == "anyone"
    with pytest.raises(Unauthenticated):
        await callers.verify(Accounts().api_key())


RSA_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED_KEY: Final = Ed25519PrivateKey.generate()


def issued_by(issuer: IssuedTokens, **change: Any) -> str:
    """A token of an external issuer."""
    eddsa = issuer.kind == "eddsa"
    body = claims(iss=issuer.issuer, sid=None, **change)
    key: Any = ED_KEY if eddsa else RSA_KEY
    algorithm = "EdDSA" if eddsa else "RS256"
    return jwt.encode(body, key, algorithm=algorithm, headers={"typ": "at+jwt", "kid": "x"})


def external(issuer: IssuedTokens) -> CallerVerifier:
    """Local tokens and those of this issuer."""
    rsa_jwk: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
    keys = [rsa_jwk | {"kid": "x", "alg": "RS256", "use": "sig"}, jwk_of(ED_KEY) | {"kid": "x"}]

    async def fetch(_: str) -> dict[str, Any]:
        return {"keys": keys}

    algorithm: Any = "EdDSA" if issuer.kind == "eddsa" else "RS256"
    return CallerVerifier(
        [
            TokenVerifier(TOKENS),
            TokenVerifier(issuer, PublishedKeys(JWKS_URL, algorithm=algorithm, fetch=fetch)),
        ]
    )


@pytest.mark.parametrize("kind", ["rs256", "eddsa"])
async def test_an_external_issuer_stands_beside_the_local_one(kind: Any) -> None:
    """Each checks its own tokens, with its own algorithm; another algorithm of the set is refused."""
    issuer = IssuedTokens(kind=kind, issuer="https://issuer.example", jwks_url=JWKS_URL)
    other = issuer.model_copy(update={"kind": "eddsa" if kind == "rs256" else "rs256"})
    callers = external(issuer)

    assert (await callers.verify(issued_by(issuer))).user_id == "alice"
    assert (await callers.verify(mint(principal("bob"), TOKENS, now_s=NOW_S, ttl_s=36_000))).user_id == "bob"
    with pytest.raises(Unauthenticated):
        await callers.verify(issued_by(other))


async def test_a_customers_issuer_speaks_for_its_own_tenants_alone() -> None:
    """Neither in another tenant's name nor for the platform; it cannot name a session of the hub either."""
    issuer = IssuedTokens(issuer="https://acme.example", jwks_url=JWKS_URL, tenants=("acme",))
    callers = external(issuer)
    good = await callers.verify(issued_by(issuer))

    assert (good.tenant_id, good.session_id) == ("acme", None)
    for forged in (issued_by(issuer, tenant="rival"), issued_by(issuer, roles=["admin"])):
        with pytest.raises(Unauthenticated):
            await callers.verify(forged)


@pytest.mark.parametrize(
    ("said", "roles"),
    [
        (None, {"tenant:trader"}),
        ([], set()),
        (["service"], {"tenant:service"}),
        (["tenant:viewer"], {"tenant:viewer"}),
    ],
    ids=str,
)
async def test_default_roles_are_for_tokens_that_say_nothing(said: Any, roles: set[str]) -> None:
    """An empty claim is no claim to anything; the former name of services still is one."""
    issuer = IssuedTokens(issuer="https://issuer.example", jwks_url=JWKS_URL)

    assert (await external(issuer).verify(issued_by(issuer, roles=said))).roles == roles


async def test_default_roles_are_configured_by_issuer() -> None:
    """For a provider whose people only look."""
    config = LocalTokens(secret=TOKENS.secret, default_roles=("tenant:viewer",))
    token = hs256(LOCAL_SECRET.encode(), {}, iss=config.issuer, roles=None)

    assert (await TokenVerifier(config).verify(token)).roles == {"tenant:viewer"}
