"""Subscriptions in `user.subscriptions`: written as compacted records, read back by folding a partition.

All of a user's subscriptions, and the entitlement that wins over them, are in one partition, chosen by the
user id alone, because the fan-out worker that owns the user reads that partition and no other.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from deployments.front.subscription_fold import Address, SubscriptionFold, address_of
from messaging.ports import EventBus, Producer, Record
from messaging.topics import SUBSCRIPTIONS, partition_of
from models.errors import AppendNotSent, AppendRefused, AppendUnknown, Forbidden
from models.principal import Principal
from models.subscription import Entitlement, Subscription, subscription_key

APPEND_TIMEOUT_S: Final = 10.0

Written = Subscription | Entitlement
__all__ = ["Address", "SubscriptionReader", "SubscriptionWriter", "address_of", "partition_of_user"]


def partition_of_user(user_id: str) -> int:
    """The partition that holds a user, in `user.subscriptions` as in `user.signals`."""
    return partition_of(user_id.encode(), SUBSCRIPTIONS.partitions)


class SubscriptionWriter:
    """Writes subscriptions; a call returns when the log has acknowledged them.

    One append per partition is in flight. After an unknown outcome the producer is rebuilt before anything
    else is written, so that an older setting cannot land behind a newer one; the caller may repeat the call.
    """

    def __init__(self, bus: EventBus, *, timeout_s: float = APPEND_TIMEOUT_S) -> None:
        self._bus = bus
        self._timeout_s = timeout_s
        self._producer: Producer | None = None
        self._opening = asyncio.Lock()
        self._turns: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def put(self, subscription: Subscription) -> int:
        """Write one subscription and return its offset."""
        return await self._write(partition_of_user(subscription.user_id), [_record(subscription)])

    async def put_many(self, many: Iterable[Written]) -> None:
        """Write many, one batch after the other in each partition, partitions side by side."""
        await self._write_many((one.user_id, _record(one)) for one in many)

    async def delete_many(self, many: Iterable[Written]) -> None:
        """Write the tombstones of many, as `put_many` writes."""
        await self._write_many((one.user_id, Record(one.key(), None)) for one in many)

    async def delete(self, user_id: str, address: Address) -> int:
        """Write the tombstone of a subscription and return its offset."""
        key = subscription_key(user_id, *address)
        return await self._write(partition_of_user(user_id), [Record(key, None)])

    async def close(self) -> None:
        if self._producer:
            await self._producer.close()

    async def _write_many(self, records: Iterable[tuple[str, Record]]) -> None:
        by_partition: dict[int, list[Record]] = defaultdict(list)
        for user_id, record in records:
            by_partition[partition_of_user(user_id)].append(record)
        async with asyncio.TaskGroup() as group:
            for partition, found in by_partition.items():
                group.create_task(self._write(partition, found))

    async def _write(self, partition: int, records: Sequence[Record]) -> int:
        producer = await self._open()
        offset = -1
        async with self._turns[partition]:
            while records:
                fitting = max(1, producer.fits(records))
                offset = await self._append(producer, partition, records[:fitting])
                records = records[fitting:]
        return offset

    async def _append(self, producer: Producer, partition: int, records: Sequence[Record]) -> int:
        try:
            return await producer.append(SUBSCRIPTIONS.name, partition, records, timeout_s=self._timeout_s)
        except AppendNotSent:
            raise
        except (AppendRefused, AppendUnknown):  # a refusal wedges an idempotent producer, too
            await producer.rebuild()
            raise

    async def _open(self) -> Producer:
        async with self._opening:
            if self._producer is None:
                self._producer = await self._bus.producer("gateway-subscriptions")
            return self._producer


class SubscriptionReader:
    """Reads subscriptions, up to the end of the log at the moment of the call, with tier and end as they
    count: those of the user's entitlement, where there is one.

    Keeps the fold of each partition it was asked for and reads on from there, so only the first call to a
    partition reads all of it.
    """

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._folds: dict[int, SubscriptionFold] = defaultdict(SubscriptionFold)

    async def of(self, principal: Principal) -> list[Subscription]:
        """All subscriptions of the caller, by account, strategy and symbol."""
        own = await self._of_user(principal.user_id)
        return [own[address] for address in sorted(own) if own[address].tenant_id == principal.tenant_id]

    async def of_tenant(self, tenant_id: str) -> list[Subscription]:
        """All subscriptions of a tenant's users, by user, account, strategy and symbol."""
        folds = await self._all()
        users = sorted(user for fold in folds for user in fold.users(tenant_id))
        found = (self._folds[partition_of_user(user)].subscriptions(user) for user in users)
        return [own[at] for own in found for at in sorted(own) if own[at].tenant_id == tenant_id]

    async def entitlements_of(self, tenant_id: str) -> list[Entitlement]:
        """What was written last of the entitlements of a tenant's users, by user."""
        found = [one for fold in await self._all() for one in fold.entitlements(tenant_id)]
        return sorted(found, key=lambda one: one.user_id)

    async def check_user_id(self, principal: Principal) -> None:
        """Raise Forbidden if another tenant has a user of this id.

        User ids are unique across tenants. Should two be alike nevertheless, the second must not write: a
        subscription's key does not hold the tenant, so it would replace the first one's.
        """
        own = await self._of_user(principal.user_id)
        if any(item.tenant_id != principal.tenant_id for item in own.values()):
            raise Forbidden("this user id is in use; ask for another one")

    async def find(self, principal: Principal, address: Address) -> Subscription | None:
        """One subscription of the caller."""
        return next((item for item in await self.of(principal) if address_of(item) == address), None)

    async def _of_user(self, user_id: str) -> Mapping[Address, Subscription]:
        fold = await self._caught_up(partition_of_user(user_id))
        return fold.subscriptions(user_id)

    async def _all(self) -> Sequence[SubscriptionFold]:
        return await asyncio.gather(*(self._caught_up(home) for home in range(SUBSCRIPTIONS.partitions)))

    async def _caught_up(self, partition: int) -> SubscriptionFold:
        fold = self._folds[partition]
        async with fold.turn:
            first, end = await self._bus.bounds(SUBSCRIPTIONS.name, partition)
            if end < fold.position:
                fold.restart()  # the topic was made anew
            start = max(first, fold.position)
            async for records in self._bus.read(SUBSCRIPTIONS.name, partition, start, end):
                for record in records:
                    fold.take(record)
            fold.position = end
        return fold


def _record(one: Written) -> Record:
    return Record(one.key(), one.model_dump_json(by_alias=True).encode())
