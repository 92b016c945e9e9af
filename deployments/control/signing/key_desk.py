"""Signing keys as the platform's people work them: each move is in the platform's audit."""

from __future__ import annotations

from deployments.control.changes import Changes
from deployments.control.signing.signing import SigningKeys
from models.principal import Principal
from models.tenant import PLATFORM_TENANT
from storage.postgres.signing_keys import SealedKey


class KeyDesk:
    """The audit entry is committed if the keys were changed: a change of theirs is a transaction of the
    platform and not of its tenant, so it is made within the one that writes it down.
    """

    def __init__(self, changes: Changes, keys: SigningKeys) -> None:
        self._changes = changes
        self._keys = keys

    async def rotate(self, caller: Principal) -> SealedKey:
        """Announce the next key."""
        async with self._changes.of(PLATFORM_TENANT, actor=caller.user_id) as change:
            key = await self._keys.rotate()
            await change.note("signing_keys.rotate", key.kid)
        return key

    async def remove(self, caller: Principal, kid: str) -> None:
        """End a key at once; NotFound for none."""
        async with self._changes.of(PLATFORM_TENANT, actor=caller.user_id) as change:
            await self._keys.remove(kid)
            await change.note("signing_keys.remove", kid)
