"""Entitlements in a simulated world: written as a control plane would, by dice of their own, and judged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from messaging.ports import Record
from messaging.topics import SUBSCRIPTIONS, partition_of
from models.principal import Tier
from models.subscription import Entitlement, entitlement_key
from signals.encoding import encode
from tests.simulation.faults import PARTITIONS

if TYPE_CHECKING:
    from tests.simulation.world import World

TENANT: Final = "t"
AGAIN_S: Final = 10.0
"""After which a control plane says once more what it said last."""
_EVERY_S: Final = 0.7
_FOREVER_NS: Final = 4 * 10**18

Account = tuple[str, str]


class Entitled(NamedTuple):
    """What was written of a user and when, by the broker's clock; `until_ns` None is a tombstone."""

    at_ms: int
    user: str
    version: int
    until_ns: int | None


class Entitling:
    """Ends, renews and forgets entitlements for a while; `history` is what the tenant's users were told."""

    def __init__(self, world: World, rng: Random) -> None:
        self.history: list[Entitled] = []
        self._world = world
        self._rng = rng
        self._version = 10
        self._last: dict[str, Entitlement] = {}

    async def run(self, seconds: float) -> None:
        """Write something about a random user, several times in two seconds."""
        end_s = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end_s:
            await asyncio.sleep(self._rng.expovariate(1 / _EVERY_S))
            user = f"user-{self._rng.randrange(10)}"
            self._rng.choice((self._end, self._end, self._limit, self._renew, self._renew, self._odd))(user)

    def _end(self, user: str) -> None:
        self._put(self._made(user, self._world.clock() - 1))

    def _limit(self, user: str) -> None:
        self._put(self._made(user, self._world.clock() + int(self._rng.uniform(0.2, 8.0) * 1e9)))

    def _renew(self, user: str) -> None:
        self._put(self._made(user, _FOREVER_NS))

    def _odd(self, user: str) -> None:
        """What changes nothing, and a tombstone, after which the subscription counts by itself."""
        self._rng.choice((self._forget, self._stale, self._of_another_tenant))(user)

    def _forget(self, user: str) -> None:
        self._last.pop(user, None)
        self._land(user, None)
        self.history.append(Entitled(self._now_ms(), user, 0, None))

    def _stale(self, user: str) -> None:
        """A control plane that died has its last word late; ten seconds later the right one is said again."""
        if user in self._last:
            self._put(self._last[user].model_copy(update={"version": 1, "entitled_until_ns": 0}))
            self._world.later(AGAIN_S, lambda: self._again(user))

    def _again(self, user: str) -> None:
        if user in self._last:
            self._put(self._last[user])

    def _of_another_tenant(self, user: str) -> None:
        """User ids are unique, so this does not happen; should it, it must not matter."""
        other = self._made(user, 0).model_copy(update={"tenant_id": "another"})
        self._land(user, encode(other))
        self._world.later(AGAIN_S, lambda: self._again(user))

    def _made(self, user: str, until_ns: int) -> Entitlement:
        self._version += 1
        return Entitlement(
            tenant_id=TENANT,
            user_id=user,
            tier=self._rng.choice(list(Tier)),
            entitled_until_ns=until_ns,
            version=self._version,
        )

    def _put(self, one: Entitlement) -> None:
        last = self._last.get(one.user_id)
        if last is None or last.version <= one.version:
            self._last[one.user_id] = one
        self._land(one.user_id, encode(one))
        self.history.append(Entitled(self._now_ms(), one.user_id, one.version, one.entitled_until_ns))

    def _land(self, user: str, value: bytes | None) -> None:
        partition = partition_of(user.encode(), PARTITIONS)
        log = self._world.log.partition(SUBSCRIPTIONS.name, partition)
        log.land([Record(entitlement_key(user), value)], self._now_ms())

    def _now_ms(self) -> int:
        return self._world.clock() // 1_000_000


def entitled(
    changes: Sequence[Entitled],
    must: set[Account],
    may: set[Account],
    *,
    span_ms: tuple[int, int],
    made_ns: int,
) -> tuple[set[Account], set[Account]]:
    """Of those who must and may get a prediction, who still must and who may, as entitlements go. A change
    within the span, broker time, counts or not; whether one has ended is asked of when it was made.
    """
    states = {
        account: [until_ns > made_ns for until_ns in _ends(changes, account[0], *span_ms)]
        for account in must | may
    }
    sure = {account for account in must if all(states[account])}
    return sure, {account for account in must | may if any(states[account])} - sure


def _ends(changes: Sequence[Entitled], user: str, begin_ms: int, end_ms: int) -> Iterator[int]:
    """What held when the span began, and what each change within it made of that."""
    own = [one for one in changes if one.user == user and one.at_ms <= end_ms]
    before = sum(one.at_ms < begin_ms for one in own)
    for known in range(before, len(own) + 1):
        yield _end_of(own[:known])


def _end_of(own: Sequence[Entitled]) -> int:
    since = max((at for at, one in enumerate(own) if one.until_ns is None), default=-1)
    wins = max(reversed(own[since + 1 :]), key=lambda one: one.version, default=None)
    return wins.until_ns if wins and wins.until_ns is not None else _FOREVER_NS
