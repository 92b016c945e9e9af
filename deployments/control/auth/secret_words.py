"""Secrets that are shown once: made from the system's randomness and kept as
a hash. 256 random bits need no slow hash: nobody guesses them.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Final

_BYTES: Final = 32


def new_secret() -> str:
    """256 random bits, in characters that pass everywhere."""
    return secrets.token_urlsafe(_BYTES)


def hashed(secret: str) -> bytes:
    """What is kept of it."""
    return sha256(secret.encode()).digest()
