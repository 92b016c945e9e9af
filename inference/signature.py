"""The hub's word that an artefact is the one it examined: Ed25519 over what identifies it.

Who loads an artefact checks it, so that a file that was changed in the store, or another one under its name,
is refused wherever it would run.
"""

from __future__ import annotations

import base64
import binascii

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from models.card import ModelCard
from models.errors import CardRejected, ConfigError

_KEY_BYTES = 32


class Signer:
    """Signs for the hub. `secret` is 64 hex digits, as `openssl rand -hex 32` prints them."""

    def __init__(self, secret: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(_key_bytes(secret))

    @property
    def verify_key(self) -> str:
        """What everybody may know, as 64 hex digits."""
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def sign(self, card: ModelCard) -> str:
        """The signature of a model: its name and version, and the hash that its card names."""
        return base64.b64encode(self._key.sign(_statement(card))).decode()


class Verifier:
    """Checks what a `Signer` signed, by its `verify_key`."""

    def __init__(self, verify_key: str) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(_key_bytes(verify_key))

    def check(self, card: ModelCard, signature: str) -> None:
        """CardRejected unless the hub signed exactly this artefact as exactly this model."""
        try:
            self._key.verify(base64.b64decode(signature, validate=True), _statement(card))
        except (InvalidSignature, binascii.Error):
            raise CardRejected(f"{card.key} is not signed by this hub", field="signature") from None


def _statement(card: ModelCard) -> bytes:
    said = {"model": str(card.key), "sha256": card.sha256, "calibration": card.calibration.version}
    return b"central-hub model\n" + orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def _key_bytes(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigError(
            "a model key is 64 hex digits; `openssl rand -hex 32` makes one", field="signing_key"
        )
    return key
