"""The keys that the hub signs tokens with: made once, told to all before they sign, retired by the clock.

A key goes through three moments. It is announced; an overlap later it begins to sign, when every process has
it; and after another one has taken over it goes on verifying for as long as the last of its tokens lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.control.acting import absent
from deployments.control.announcer import Announcer
from deployments.control.config import AuthConfig
from deployments.control.signing.key_pair import made, opened
from deployments.front.tenants_fold import TenantsFold
from models.errors import BrokerUnavailable
from models.tenant import PLATFORM_TENANT, Kind, SigningKeyRecord
from storage.postgres import signing_keys
from storage.postgres.announcements import Mark, mark
from storage.postgres.database import Database
from storage.postgres.signing_keys import SealedKey
from storage.sealing import Sealer

_SLACK_NS: Final = 60 * 10**9
"""Verifiers allow for clocks that differ by as much."""
_LOOK_S: Final = 0.05
_LOOKS: Final = 40


class SigningKey(NamedTuple):
    """What a token is signed with."""

    kid: str
    private: Ed25519PrivateKey


class SigningKeys:
    """Keeps the opened keys of this process. `clock` is wall time in nanoseconds."""

    def __init__(
        self,
        database: Database,
        announcer: Announcer,
        sealer: Sealer,
        *,
        fold: TenantsFold,
        config: AuthConfig,
        clock: Callable[[], int],
    ) -> None:
        self._database = database
        self._announcer = announcer
        self._sealer = sealer
        self._fold = fold
        self._access_ns = config.access_s * 10**9
        self._overlap_ns = int(config.overlap_s * 10**9)
        self._signs_for_ns = int(config.key_days * 86_400) * 10**9
        self._clock = clock
        self._known: Sequence[SealedKey] = ()
        self._opened: dict[str, Ed25519PrivateKey] = {}

    async def current(self) -> SigningKey:
        """The key to sign with now, which is awaited shortly after the start; BrokerUnavailable while nobody
        could verify what it signs.
        """
        for _ in range(_LOOKS):
            if found := await self._current():
                return found
            await asyncio.sleep(_LOOK_S)
        raise BrokerUnavailable(
            "no key that tokens could be signed with is known everywhere yet; try again", retry_after_s=1.0
        )

    async def _current(self) -> SigningKey | None:
        if {key.kid for key in self._known} != {kid for (kid,) in self._fold.signing_keys}:
            await self._read()
        for key in self._known:
            if self._signs(key, self._clock()) and self._fold.signing_key(key.kid):
                return SigningKey(key.kid, self._opened[key.kid])
        return None

    async def keep_one(self) -> None:
        """Make a key if there is none, and another when the newest has signed for its time: of any number of
        processes that start at once, one does.
        """
        async with self._database.platform() as connection:
            await signing_keys.turn(connection)
            found, now_ns = await signing_keys.every(connection), self._clock()
            if found and now_ns - found[0].signs_from_ns < self._signs_for_ns:
                return
            signs_from_ns = now_ns + self._overlap_ns if found else now_ns
            _, marks = await self._add(connection, now_ns=now_ns, signs_from_ns=signs_from_ns)
        await self._announcer.tell(marks)

    async def rotate(self) -> SealedKey:
        """Make the next key, which signs when the overlap is over. Tokens of the others stay good."""
        async with self._database.platform() as connection:
            await signing_keys.turn(connection)
            now_ns = self._clock()
            key, marks = await self._add(connection, now_ns=now_ns, signs_from_ns=now_ns + self._overlap_ns)
        await self._announcer.tell(marks)
        return key

    async def remove(self, kid: str) -> None:
        """End a key and all of its tokens at once: for one that somebody else has got. If none is left that
        signs now, a new one does at once, since waiting would keep everybody out.
        """
        async with self._database.platform() as connection:
            await signing_keys.turn(connection)
            if not await signing_keys.remove(connection, kid):
                raise absent()
            now_ns = self._clock()
            marks = [await _marked(connection, kid, now_ns=now_ns)]
            if not any(self._signs(key, now_ns) for key in await signing_keys.every(connection)):
                marks += (await self._add(connection, now_ns=now_ns, signs_from_ns=now_ns))[1]
        await self._announcer.tell(marks)

    async def tidy(self) -> None:
        """Forget the keys whose time is over."""
        async with self._database.platform() as connection:
            now_ns = self._clock()
            gone = await signing_keys.remove_retired(connection, now_ns=now_ns)
            marks = [await _marked(connection, kid, now_ns=now_ns) for kid in gone]
        await self._announcer.tell(marks)

    async def _add(
        self, connection: AsyncConnection, *, now_ns: int, signs_from_ns: int
    ) -> tuple[SealedKey, list[Mark]]:
        """A new key, after which the others verify for as long as their last tokens live."""
        key = made(self._sealer, now_ns=now_ns, signs_from_ns=signs_from_ns)
        await signing_keys.add(connection, key)
        until_ns = signs_from_ns + self._access_ns + _SLACK_NS
        await signing_keys.retire(connection, but=key.kid, at_ns=until_ns)
        return key, [await _marked(connection, key.kid, now_ns=now_ns)]

    async def _read(self) -> None:
        async with self._database.platform() as connection:
            keys = await signing_keys.every(connection)
        self._opened = {key.kid: opened(self._sealer, key) for key in keys}
        self._known = keys

    def _signs(self, key: SealedKey, now_ns: int) -> bool:
        """Whether it signs by now, and will still verify what it signs now when that ends."""
        ends_ns = now_ns + self._access_ns
        return key.signs_from_ns <= now_ns and (key.retired_ns is None or ends_ns <= key.retired_ns)


async def render(connection: AsyncConnection, ids: Sequence[str]) -> SigningKeyRecord | None:
    """What the log says of a key: its public half."""
    jwk = await signing_keys.public(connection, ids[0])
    return SigningKeyRecord(kid=ids[0], jwk=jwk) if jwk else None


async def _marked(connection: AsyncConnection, kid: str, *, now_ns: int) -> Mark:
    return await mark(connection, PLATFORM_TENANT, Kind.SIGNING_KEY, kid, now_ns=now_ns)
