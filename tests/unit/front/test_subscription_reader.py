"""What a tenant's people have subscribed to and are entitled to, read from the log as it is now."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import pytest

from deployments.front.subscriptions import SubscriptionReader, SubscriptionWriter, partition_of_user
from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.topics import SUBSCRIPTIONS, create_topics
from models.principal import Tier
from models.subscription import Entitlement, Subscription, entitlement_key
from signals.encoding import encode
from tests.unit.gateway.doubles import principal
from tests.unit.signals.records import subscription


class Log:
    """The topic, with a writer and a reader on it."""

    def __init__(self) -> None:
        self.log = MemoryLog(random.Random(1), clock=time.time_ns)
        bus = MemoryBus(self.log, "front")
        self.bus = bus
        self.writer, self.reader = SubscriptionWriter(bus), SubscriptionReader(bus)

    def land(self, user: str, key: bytes, value: bytes | None) -> None:
        """Whatever somebody wrote."""
        self.log.partition(SUBSCRIPTIONS.name, partition_of_user(user)).land([Record(key, value)], 1)


@pytest.fixture
async def log() -> Log:
    """An empty one."""
    made = Log()
    await create_topics(made.bus, 1, (SUBSCRIPTIONS,))
    return made


def of(user: str, tenant: str = "acme", *, symbol: str = "EURUSD") -> Subscription:
    """A subscription of tier pro that ends at 5 ns."""
    values = {"tenant_id": tenant, "entitled_until_ns": 5}
    return subscription(user, symbol=symbol).model_copy(update=values)


def entitlement(user: str, tenant: str = "acme", *, version: int = 1, until_ns: int = 9) -> Entitlement:
    """Of tier free."""
    return Entitlement(
        tenant_id=tenant, user_id=user, tier=Tier.FREE, entitled_until_ns=until_ns, version=version
    )


def users(many: Sequence[Subscription | Entitlement]) -> list[str]:
    """Whose they are."""
    return [one.user_id for one in many]


async def test_all_of_a_tenant_are_found_over_all_partitions(log: Log) -> None:
    """As of now, each time it is asked, without those of others and those that have ended."""
    mine = [of(f"user-{number:03}") for number in range(100)]
    await log.writer.put_many([*mine, *(of(f"other-{number}", "bolt") for number in range(50))])
    assert await log.reader.of_tenant("acme") == mine
    assert await log.reader.of_tenant("nobody") == []

    await log.writer.put_many([of("user-000", symbol="NZDUSD")])
    await log.writer.delete_many([mine[1]])

    found = await log.reader.of_tenant("acme")
    assert users(found)[:3] == ["user-000", "user-000", "user-002"]
    assert await SubscriptionReader(log.bus).of_tenant("acme") == found


async def test_a_user_sees_tier_and_end_as_they_count(log: Log) -> None:
    """The entitlement's, for subscriptions before and after it; the subscription's own once it is ended."""
    await log.writer.put_many([of("alice"), entitlement("alice"), of("alice", symbol="NZDUSD")])
    await log.writer.put_many([of("bob"), entitlement("bob", "another")])

    seen = await log.reader.of(principal("alice"))
    assert [(one.tier, one.entitled_until_ns) for one in seen] == [(Tier.FREE, 9)] * 2
    assert await log.reader.of(principal("bob")) == [of("bob")]

    await log.writer.delete_many([entitlement("alice")])
    assert await log.reader.of(principal("alice")) == [of("alice"), of("alice", symbol="NZDUSD")]


async def test_the_higher_version_counts_and_the_last_is_what_was_written(log: Log) -> None:
    """So that whoever repairs the log sees that compaction would leave the older one."""
    await log.writer.put_many([of("alice"), entitlement("alice", version=2)])
    await log.writer.put_many([entitlement("alice", until_ns=1), entitlement("carol")])

    (alice,) = await log.reader.of(principal("alice"))
    assert alice.entitled_until_ns == 9
    assert await log.reader.entitlements_of("acme") == [
        entitlement("alice", until_ns=1),
        entitlement("carol"),
    ]
    assert await log.reader.entitlements_of("bolt") == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (entitlement_key("alice"), b"{}"),
        (entitlement_key("alice"), b"no json"),
        (b'["alice","~of a later release"]', b'{"schema":"hub.later/1"}'),
        (b'["alice"]', None),
        (b"no json", None),
        (b"7", None),
        (of("alice").key(), b"{}"),
        (b'["alice",["x"],"alpha@1","EURUSD"]', encode(of("alice"))),
    ],
)
async def test_what_cannot_be_placed_stops_nobody(log: Log, key: bytes, value: bytes | None) -> None:
    """A record of a later release, or a broken one, leaves the partition's users readable."""
    await log.writer.put(of("alice"))
    log.land("alice", key, value)

    assert await log.reader.of(principal("alice")) == [of("alice")]
    assert await log.reader.entitlements_of("acme") == []
