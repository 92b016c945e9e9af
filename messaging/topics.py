"""The Kafka contract as data: topics with partitions and policy, consumer groups, the partition of a key.

`create_topics` makes what is missing and changes nothing that exists; `check_topics` compares with the broker
and refuses a mismatch, because a wrong partition count silently breaks the order of every user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from messaging.ports import EventBus, TopicState
from models.errors import TopicMismatch
from models.hashing import murmur2

_DAY_MS: Final = 86_400_000
_BROKER_TIME: Final = {"message.timestamp.type": "LogAppendTime"}
"""Cut-offs by time compare records of several writers, so the one clock is the broker's."""


@dataclass(frozen=True, slots=True)
class Topic:
    """`policy` holds broker configuration by Kafka's names; `key` says what records are keyed by."""

    name: str
    partitions: int
    policy: Mapping[str, str]
    key: str

    @property
    def domain(self) -> str:
        """First token of the name: `hub` or `user`."""
        return self.name.partition(".")[0]

    @property
    def kept(self) -> str:
        """For how long the broker keeps records, in words."""
        cleanup, retention = self.policy["cleanup.policy"], self.policy.get("retention.ms", "-1")
        age = "for ever" if retention == "-1" else f"{int(retention) // _DAY_MS} days"
        return {"delete": age, "compact": "last of each key", "compact,delete": f"last of each key, {age}"}[
            cleanup
        ]


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group whose members share the partitions of `topic` among them."""

    name: str
    topic: Topic
    purpose: str


def _kept(days: int | None) -> dict[str, str]:
    retention = "-1" if days is None else str(days * _DAY_MS)
    return {"cleanup.policy": "delete", "retention.ms": retention, **_BROKER_TIME}


def _compacted(*, segment_mib: int) -> dict[str, str]:
    """Only closed segments are compacted, so the segment size bounds what piles up."""
    return {"cleanup.policy": "compact", "segment.bytes": str(segment_mib << 20), **_BROKER_TIME}


_LATE_OWNER: Final = {"min.compaction.lag.ms": "600000"}
"""A new owner projects a slot for those who were subscribed when it was predicted, so what a user has changed
since must still be there in its old form."""

MODELS: Final = Topic("hub.models", 1, _kept(None), "model@version")
DECISIONS: Final = Topic("hub.decisions", 6, _kept(30), "request or slot")
PREDICTIONS: Final = Topic("hub.predictions", 6, _kept(7), "symbol")
SUBSCRIPTIONS: Final = Topic(
    "user.subscriptions",
    24,
    {**_compacted(segment_mib=64), **_LATE_OWNER},
    "user, account, strategy, symbol; partition by user",
)
SIGNALS: Final = Topic("user.signals", 24, _kept(7), "user_id")
SIGNALS_DLQ: Final = Topic("user.signals.dlq", 24, _kept(30), "as in user.signals")
"""What no reader can read, with where it came from: for people. Nothing is ever taken back from here."""
SIGNAL_STATE: Final = Topic(
    "user.signal_state", 24, _compacted(segment_mib=8), "checkpoint, or mark; partition as in user.signals"
)
"""Who asks for marks reads a partition from its beginning, so little of it is left for compaction to come."""
EVENT_MARKS: Final = Topic(
    "user.event_marks",
    24,
    _compacted(segment_mib=8),
    "user, topic, block; partition as in the topics of user events",
)
"""Beside the marks of signals, because whoever writes those could write a checkpoint."""
OUTCOMES: Final = Topic("hub.outcomes", 1, _kept(90), "symbol")
"""One partition: what is folded from it has one position, whoever folds it."""
EVIDENCE: Final = Topic("hub.evidence", 1, _compacted(segment_mib=8), "model@version")
TENANTS: Final = Topic(
    "hub.tenants", 1, _compacted(segment_mib=8), "kind, id: tenants, users, sessions, keys, config"
)
"""What every process must know to let somebody in. The record of it is PostgreSQL's."""
AUDIT_HEADS: Final = Topic("hub.audit_heads", 1, _kept(None), "tenant_id")
"""Signed: what the audit logs in PostgreSQL must still hold, whoever has been at them."""
USAGE: Final = Topic("hub.usage", 1, _kept(90), "source: one start of one process")
"""One partition: a process's reports stay in their order, and what is counted has one position."""
DENIALS: Final = Topic("hub.denials", 1, _kept(30), "tenant_id")
"""What the data plane denied whom, on its way to the audit logs in PostgreSQL."""
TENANT_EVENTS: Final = Topic("hub.tenant_events", 1, _kept(365), "tenant_id")
"""What tenants are told: limits that near, subscriptions that are not kept. For billing, mail, dashboards."""
CONTROL: Final = Topic("hub.control", 1, _compacted(segment_mib=1), "scope, id of a halt")

USER_AUTH: Final = Topic("user.auth", 24, _kept(90), "user_id")
USER_SETTINGS: Final = Topic(
    "user.settings", 24, _compacted(segment_mib=64), "user, document; partition by user"
)
USER_COMMANDS: Final = Topic("user.commands", 24, _kept(90), "user_id")
USER_TRADES: Final = Topic("user.trades", 24, _kept(90), "user_id")
USER_MT5_STATUS: Final = Topic(
    "user.mt5_status",
    24,
    {**_compacted(segment_mib=64), "cleanup.policy": "compact,delete", "retention.ms": str(30 * _DAY_MS)},
    "user, account; partition by user",
)
USER_RISK_ALERTS: Final = Topic("user.risk_alerts", 24, _kept(365), "user_id")
USER_TRANSACTIONS: Final = Topic("user.transactions", 24, _kept(90), "user_id")
USER_BACKTESTS: Final = Topic("user.backtests", 24, _kept(90), "user_id")
USER_EVENTS: Final = (
    USER_AUTH,
    USER_SETTINGS,
    USER_COMMANDS,
    USER_TRADES,
    USER_MT5_STATUS,
    USER_RISK_ALERTS,
    USER_TRANSACTIONS,
    USER_BACKTESTS,
)
"""Where `save_user_event` writes. The topics hold the hot copy; how long the record is kept is not theirs to
say (`docs/decisions`)."""

TOPICS: Final = (
    MODELS,
    DECISIONS,
    PREDICTIONS,
    SUBSCRIPTIONS,
    SIGNALS,
    SIGNALS_DLQ,
    SIGNAL_STATE,
    EVENT_MARKS,
    OUTCOMES,
    EVIDENCE,
    TENANTS,
    AUDIT_HEADS,
    USAGE,
    DENIALS,
    TENANT_EVENTS,
    CONTROL,
    *USER_EVENTS,
)

FANOUT: Final = Group("hub-fanout", SIGNALS, "owners of users: predictions x subscriptions -> signals")
FORECASTER: Final = Group("hub-forecaster", PREDICTIONS, "owners of symbols: ticks -> predictions")
REGISTRY: Final = Group("hub-registry", MODELS, "the one writer of the catalogue")
TRACKER: Final = Group("hub-tracker", OUTCOMES, "the one judge of forecasts: predictions -> outcomes")
GROUPS: Final = (FANOUT, FORECASTER, REGISTRY, TRACKER)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition every Kafka client with a murmur2 partitioner picks for the key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


async def create_topics(bus: EventBus, replication: int, topics: Sequence[Topic] = TOPICS) -> list[str]:
    """Create the missing topics and return their names. Existing ones are left as they are."""
    existing = await bus.topics()
    missing = [topic for topic in topics if topic.name not in existing]
    for topic in missing:
        await bus.create_topic(
            topic.name, partitions=topic.partitions, policy=topic.policy, replication=replication
        )
    return [topic.name for topic in missing]


async def check_topics(bus: EventBus, topics: Sequence[Topic] = TOPICS) -> list[str]:
    """Compare the contract with the broker; return a notice per thing the broker cannot report.

    Raises TopicMismatch naming every topic that is missing or differs, and how.
    """
    states = await bus.topics()
    differences = [text for topic in topics for text in _differences(topic, states.get(topic.name))]
    if differences:
        raise TopicMismatch(
            "the broker's topics do not fit the hub: "
            + "; ".join(differences)
            + ". Run `hub topics create` for missing topics; a topic with another partition count or policy"
            " must be altered or replaced by hand",
            details={"differences": differences},
        )
    return [notice for topic in topics for notice in _unreported(topic, states[topic.name])]


def _differences(topic: Topic, state: TopicState | None) -> list[str]:
    if state is None:
        return [f"{topic.name} is missing, or not for this principal to see"]
    found = []
    if state.partitions != topic.partitions:
        found.append(f"{topic.name} has {state.partitions} partitions, expected {topic.partitions}")
    reported = state.policy or {}
    found += [
        f"{topic.name} has {name}={reported[name]}, expected {wanted}"
        for name, wanted in topic.policy.items()
        if reported.get(name, wanted) != wanted
    ]
    return found


def _unreported(topic: Topic, state: TopicState) -> list[str]:
    silent = [name for name in topic.policy if name not in (state.policy or {})]
    return [f"the broker does not report {', '.join(silent)} of {topic.name}"] if silent else []
