"""Ed25519 key pairs for tokens: named by what they are, and sealed for the database."""

from __future__ import annotations

import base64
from hashlib import sha256

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.postgres.signing_keys import SealedKey
from storage.sealing import Sealer


def made(sealer: Sealer, *, now_ns: int, signs_from_ns: int) -> SealedKey:
    """A new pair out of the system's randomness."""
    private = Ed25519PrivateKey.generate()
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": _text(private.public_key().public_bytes_raw())}
    kid = _thumbprint(jwk)
    sealed = sealer.seal(private.private_bytes_raw(), context=_context(kid))
    return SealedKey(kid, jwk | {"use": "sig", "alg": "EdDSA"}, sealed, now_ns, signs_from_ns)


def opened(sealer: Sealer, key: SealedKey) -> Ed25519PrivateKey:
    """The private half; CannotOpen if it was sealed elsewhere, or for another key."""
    return Ed25519PrivateKey.from_private_bytes(sealer.open(key.sealed_private, context=_context(key.kid)))


def _thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638: SHA-256 of the members that are required, in the order of their names."""
    return _text(sha256(orjson.dumps(jwk, option=orjson.OPT_SORT_KEYS)).digest())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _context(kid: str) -> str:
    return f"signing-key/{kid}"
