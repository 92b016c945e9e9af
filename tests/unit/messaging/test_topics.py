"""The Kafka contract: partitions of keys, and what the check says about a broker."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import TopicState
from messaging.topics import GROUPS, TOPICS, Topic, check_topics, create_topics, partition_of
from models.errors import TopicMismatch
from models.hashing import murmur2


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(key: bytes, expected: int) -> None:
    """The published values of Kafka's own test of its hash."""
    assert murmur2(key) == expected & 0xFFFFFFFF


@given(st.binary(max_size=40), st.integers(1, 48))
def test_a_partition_is_in_range_and_always_the_same(key: bytes, partitions: int) -> None:
    """A key has one partition, below the count."""
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, partitions) == partition_of(bytes(bytearray(key)), partitions)


def test_users_spread_over_the_partitions() -> None:
    """A thousand users leave none of 24 partitions empty and none with three times its share."""
    counts = [0] * 24
    for i in range(1000):
        counts[partition_of(f"user-{i}".encode(), 24)] += 1

    assert min(counts) > 0
    assert max(counts) < 3 * 1000 / 24


def test_the_contract_is_the_documented_one() -> None:
    """Names and partition counts never change in place."""
    assert {topic.name: topic.partitions for topic in TOPICS} == {
        "hub.models": 1,
        "hub.decisions": 6,
        "hub.predictions": 6,
        "user.subscriptions": 24,
        "user.signals": 24,
        "user.signals.dlq": 24,
        "user.signal_state": 24,
        "user.event_marks": 24,
        "hub.outcomes": 1,
        "hub.evidence": 1,
        "hub.tenants": 1,
        "hub.usage": 1,
        "hub.denials": 1,
        "hub.tenant_events": 1,
        "hub.audit_heads": 1,
        "hub.control": 1,
        "user.auth": 24,
        "user.settings": 24,
        "user.commands": 24,
        "user.trades": 24,
        "user.mt5_status": 24,
        "user.risk_alerts": 24,
        "user.transactions": 24,
        "user.backtests": 24,
    }
    assert {topic.name for topic in TOPICS if topic.policy["cleanup.policy"] == "compact"} == {
        "user.subscriptions",
        "user.signal_state",
        "user.event_marks",
        "hub.evidence",
        "hub.tenants",
        "hub.control",
        "user.settings",
    }
    assert all(topic.policy["message.timestamp.type"] == "LogAppendTime" for topic in TOPICS)
    assert all(group.topic in TOPICS for group in GROUPS)


async def test_created_topics_pass_the_check() -> None:
    """On an empty broker everything is made once; then there is nothing to refuse or to notice."""
    bus = MemoryBus(MemoryLog(random.Random(1)), "b")

    assert await create_topics(bus, 1) == [topic.name for topic in TOPICS]
    assert await create_topics(bus, 1) == []
    assert await check_topics(bus) == []


class StateBus(MemoryBus):
    """Reports one made-up topic."""

    def __init__(self, state: TopicState) -> None:
        super().__init__(MemoryLog(random.Random(1)), "b")
        self._state = state

    async def topics(self) -> dict[str, TopicState]:
        """That topic alone."""
        return {self._state.name: self._state}


@pytest.mark.parametrize("policy", [None, {}, {"retention.ms": "1"}])
async def test_what_a_broker_does_not_report_is_noticed(policy: dict[str, str] | None) -> None:
    """Silence about a setting is no refusal but is named."""
    topic = Topic("t", 2, {"cleanup.policy": "compact"}, "k")
    notices = await check_topics(StateBus(TopicState("t", 2, policy)), [topic])

    assert notices == ["the broker does not report cleanup.policy of t"]


async def test_a_wrong_policy_is_named_with_both_values() -> None:
    """A reader of the refusal knows what to change."""
    topic = Topic("t", 2, {"cleanup.policy": "compact"}, "k")
    with pytest.raises(TopicMismatch, match=r"t has cleanup\.policy=delete, expected compact"):
        await check_topics(StateBus(TopicState("t", 2, {"cleanup.policy": "delete"})), [topic])
