"""Secrets at rest: AES-256-GCM under a key that is itself kept elsewhere.

What is sealed is bound to a context (a tenant's name, a purpose): sealed bytes moved elsewhere do not
open there. Keys rotate by being put in front of the older ones, which go on opening what they sealed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.errors import ConfigError

KEY_BYTES: Final = 32
_FORMAT: Final = b"\x01"
_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_NONCE_AT: Final = len(_FORMAT) + _ID_BYTES
_TEXT_AT: Final = _NONCE_AT + _NONCE_BYTES


class CannotOpen(ConfigError):
    """Sealed bytes that were altered, moved, or sealed with a key that is not here."""

    code = "cannot_open"


class Sealer:
    """Seals with the first key, opens with any. Keys are 32 bytes; ConfigError for others, or none."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ConfigError(f"a sealing key has {KEY_BYTES} bytes, 64 hex digits: `openssl rand -hex 32`")
        self._keys = {_id(key): AESGCM(key) for key in reversed(keys)}
        self._first = _id(keys[0])

    @classmethod
    def of(cls, text: str) -> Sealer:
        """From hex keys separated by commas, the newest first."""
        try:
            return cls([bytes.fromhex(part.strip()) for part in text.split(",")])
        except ValueError:
            raise ConfigError("the sealing key is not hex; make one with `openssl rand -hex 32`") from None

    def seal(self, secret: bytes, *, context: str) -> bytes:
        """The secret, readable by nobody without the key; each call gives other bytes."""
        nonce = os.urandom(_NONCE_BYTES)
        return (
            _FORMAT + self._first + nonce + self._keys[self._first].encrypt(nonce, secret, context.encode())
        )

    def open(self, sealed: bytes, *, context: str) -> bytes:
        """The secret; CannotOpen, always in the same words, if these bytes do not belong here."""
        try:
            key = self._keys[sealed[len(_FORMAT) : _NONCE_AT]]
            return key.decrypt(sealed[_NONCE_AT:_TEXT_AT], sealed[_TEXT_AT:], context.encode())
        except (KeyError, InvalidTag, ValueError):
            raise CannotOpen("a secret cannot be opened: altered, moved, or its key is missing") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether the newest key sealed it; what is not is to be sealed again when keys rotate."""
        return sealed[len(_FORMAT) : _NONCE_AT] == self._first


def _id(key: bytes) -> bytes:
    return blake2b(key, digest_size=_ID_BYTES, person=b"hub-seal-id").digest()
