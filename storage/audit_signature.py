"""The hub's word for how far a tenant's audit log had come: Ed25519 over sequence and hash.

A chain alone cannot tell that its end was cut off, or that all of it was written anew: a signed head that is
kept elsewhere can.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, Self

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from models.audit import HeadKind, SignedHead
from models.errors import ConfigError
from storage.audit_chain import Anchor

_DOMAIN: Final = b"central-hub audit head 1\n"
_KEY_BYTES: Final = 32
_KID_DIGITS: Final = 16


class HeadVerifier:
    """Knows the hub's public keys, each 64 hex digits; ConfigError for what is none."""

    def __init__(self, public_keys: Sequence[str]) -> None:
        raw = [_key_bytes(key) for key in public_keys]
        self._keys = {_kid(key): Ed25519PublicKey.from_public_bytes(key) for key in raw}

    def is_good(self, head: SignedHead) -> bool:
        """Whether the hub signed exactly this."""
        key = self._keys.get(head.kid)
        if key is None:
            return False
        try:
            key.verify(bytes.fromhex(head.signature), _statement(head))
        except (InvalidSignature, ValueError):
            return False
        return True


class HeadSigner:
    """Signs with the first of its keys; `public_keys` are those that it ever signed with."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        made = [Ed25519PrivateKey.from_private_bytes(key) for key in keys]
        public = [key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) for key in made]
        self._key = made[0]
        self._first = _kid(public[0])
        self.public_keys = [key.hex() for key in public]

    @classmethod
    def of(cls, text: str) -> Self:
        """From hex keys separated by commas, the newest first; ConfigError for what is none."""
        return cls([_key_bytes(part.strip()) for part in text.split(",")])

    def sign(self, tenant_id: str, at: Anchor, *, now_ns: int, kind: HeadKind = HeadKind.HEAD) -> SignedHead:
        """The signed head of a tenant's log."""
        head = SignedHead(
            kind=kind,
            tenant_id=tenant_id,
            sequence=at.sequence,
            hash=at.hash.hex(),
            at_ns=now_ns,
            kid=self._first,
            signature="",
        )
        return head.model_copy(update={"signature": self._key.sign(_statement(head)).hex()})


def _statement(head: SignedHead) -> bytes:
    return _DOMAIN + orjson.dumps([head.kind, head.tenant_id, head.sequence, head.hash, head.at_ns])


def _kid(public_key: bytes) -> str:
    return sha256(public_key).hexdigest()[:_KID_DIGITS]


def _key_bytes(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigError(
            "an audit key is 64 hex digits; `openssl rand -hex 32` makes one", field="audit.key"
        )
    return key
