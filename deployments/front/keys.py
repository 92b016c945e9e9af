"""Keys that tokens are verified with: a shared secret, the keys an issuer publishes (JWKS), or the hub's own.

Each source has one algorithm for all its keys, so a public key can never be taken for a shared secret.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final, Literal, Protocol
from urllib.parse import urlsplit

import httpx2
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from deployments.front.tenants_fold import TenantsFold
from models.errors import ConfigError, Unauthenticated
from models.tenant import SigningKeyRecord

_LOG = logging.getLogger(__name__)

MIN_SECRET_BYTES: Final = 32
MIN_DISTINCT_BYTES: Final = 8
MIN_RSA_BITS: Final = 2048
MAX_JWKS_BYTES: Final = 65_536
FETCH_TIMEOUT_S: Final = 2.0
REFRESH_S: Final = 300.0
RETRY_S: Final = 30.0
"""At most one fetch in this time, however many unknown key ids are asked for."""

_KID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
_DEFAULTS: Final = ("change-me", "changeme", "default", "example", "your-secret", "insecure", "password")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class VerificationKeys(Protocol):
    """Finds the key a token says it was signed with."""

    @property
    def algorithm(self) -> str: ...

    async def find(self, kid: object) -> Any:
        """The key; Unauthenticated if there is none of that name."""
        ...


class SharedSecret:
    """One HS256 secret without a name: a token that names a key is refused."""

    algorithm: ClassVar[str] = "HS256"

    def __init__(self, secret: str) -> None:
        self._secret = self.checked(secret)

    @staticmethod
    def checked(secret: str) -> str:
        """The secret itself; ConfigError if it is short, known or hardly random."""
        if len(secret.encode()) < MIN_SECRET_BYTES or len(set(secret)) < MIN_DISTINCT_BYTES:
            raise ConfigError(
                f"the token secret needs at least {MIN_SECRET_BYTES} random bytes; make one with"
                " `python -c 'import secrets; print(secrets.token_urlsafe(48))'`"
            )
        if any(word in secret.lower() for word in _DEFAULTS):
            raise ConfigError("the token secret is a default that everybody knows; make a random one")
        return secret

    async def find(self, kid: object) -> str:
        if kid is not None:
            raise Unauthenticated("a local token names no key")
        return self._secret


class HubKeys:
    """The keys that this hub signs with, as the local copy of `hub.tenants` has them: nothing is ever
    fetched, and a key that was taken away is refused as soon as the copy knows.
    """

    algorithm: ClassVar[str] = "EdDSA"

    def __init__(self, fold: TenantsFold) -> None:
        self._fold = fold
        self._read: dict[str, tuple[SigningKeyRecord, PublicKey]] = {}

    async def find(self, kid: object) -> PublicKey:
        record = self._fold.signing_key(kid) if isinstance(kid, str) else None
        if record is None:
            raise Unauthenticated("the hub signs with no such key")
        known = self._read.get(record.kid)
        if known is None or known[0] is not record:
            self._read = {name: one for name, one in self._read.items() if self._fold.signing_key(name)}
            known = self._read[record.kid] = (record, _hub_key(record))
        return known[1]


def _hub_key(record: SigningKeyRecord) -> PublicKey:
    found = published_keys({"keys": [record.jwk | {"kid": record.kid}]}, "EdDSA").get(record.kid)
    if found is None:
        raise Unauthenticated("the key is none that EdDSA may use")
    return found


Fetch = Callable[[str], Awaitable[Mapping[str, Any]]]
PublishedAlgorithm = Literal["RS256", "EdDSA"]
PublicKey = RSAPublicKey | Ed25519PublicKey
_TYPES: Final[Mapping[PublishedAlgorithm, str]] = {"RS256": "RSA", "EdDSA": "OKP"}


class PublishedKeys:
    """Keys of one algorithm by name from a JWKS address, fetched when first needed and every five minutes.

    Keys are replaced as a whole by each fetch, so a key the issuer removed stops working with the next one.
    While the issuer cannot be reached the last keys stay. One fetch at a time, one in 30 s at most.
    """

    def __init__(
        self,
        url: str,
        *,
        algorithm: PublishedAlgorithm = "RS256",
        fetch: Fetch | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.algorithm: Final[PublishedAlgorithm] = algorithm
        self._url = _checked_url(url)
        self._fetch = fetch or fetch_jwks
        self._monotonic = monotonic
        self._keys: Mapping[str, PublicKey] = {}
        self._asked_at = -float("inf")
        self._one_fetch = asyncio.Lock()

    async def find(self, kid: object) -> PublicKey:
        if not isinstance(kid, str) or not _KID.match(kid):
            raise Unauthenticated("a token of this issuer names its key")
        if self._age() > REFRESH_S or (kid not in self._keys and self._age() > RETRY_S):
            await self._refresh()
        if kid not in self._keys:
            raise Unauthenticated("the issuer publishes no such key")
        return self._keys[kid]

    def _age(self) -> float:
        return self._monotonic() - self._asked_at

    async def _refresh(self) -> None:
        async with self._one_fetch:
            if self._age() <= RETRY_S:
                return  # somebody else just asked
            self._asked_at = self._monotonic()
            try:
                self._keys = published_keys(await self._fetch(self._url), self.algorithm)
            except (httpx2.HTTPError, ValueError) as error:
                _LOG.warning("keys of the token issuer not refreshed: %s", type(error).__name__)


async def fetch_jwks(url: str) -> Mapping[str, Any]:
    """The JSON object at the address: no redirects, at most 64 KiB, within two seconds."""
    async with (
        httpx2.AsyncClient(timeout=FETCH_TIMEOUT_S, follow_redirects=False) as client,
        client.stream("GET", url) as response,
    ):
        response.raise_for_status()
        content = b""
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MAX_JWKS_BYTES:
                raise ValueError("the key set is too large")
    key_set = orjson.loads(content)
    if not isinstance(key_set, dict):
        raise ValueError("the key set is no JSON object")  # noqa: TRY004 - the input is wrong, not the caller
    return key_set


def published_keys(jwks: Mapping[str, Any], algorithm: PublishedAlgorithm) -> Mapping[str, PublicKey]:
    """The signing keys of a JWKS that the algorithm may use, by name; others are left out."""
    found = (_published_key(entry, algorithm) for entry in jwks.get("keys", ()) if isinstance(entry, dict))
    return {kid: key for kid, key in found if kid and key}


def _published_key(
    entry: Mapping[str, Any], algorithm: PublishedAlgorithm
) -> tuple[str | None, PublicKey | None]:
    if entry.get("kty") != _TYPES[algorithm] or entry.get("use", "sig") != "sig":
        return None, None
    if entry.get("alg", algorithm) != algorithm:
        return None, None
    try:
        key = jwt.PyJWK(dict(entry), algorithm=algorithm).key
    except jwt.PyJWTError:
        return None, None
    return entry.get("kid"), key if _strong(key) else None


def _strong(key: object) -> bool:
    """A private key is none to verify with: whoever publishes it has lost it."""
    return isinstance(key, Ed25519PublicKey) or (
        isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS
    )


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ConfigError(f"jwks_url was {url!r}; expected https, or http on this machine")
    return url
