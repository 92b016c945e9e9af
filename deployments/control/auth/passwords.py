"""Passwords: argon2id in a thread of its own, so that the loop goes on answering while one is hashed.

RFC 9106's second recommended profile: 64 MiB, three passes, four lanes. As many at a time as there are
processors, because each takes one whole; whoever else comes waits in line.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

_NOBODYS: Final = "nobody has this password"


class Passwords:
    """Hashes and verifies. An account without a hash costs the same time and is always refused."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._turns = asyncio.Semaphore(os.cpu_count() or 1)
        self._decoy: str | None = None

    async def hashed(self, password: str) -> str:
        """The hash to keep; another one each time."""
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def fits(self, password: str, kept: str | None) -> bool:
        """Whether the password is the one of this hash; None, for nobody's, takes as long and never fits."""
        if self._decoy is None:
            self._decoy = await self.hashed(_NOBODYS)
        async with self._turns:
            return await asyncio.to_thread(self._verify, kept or self._decoy, password) and kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether the hash was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False
