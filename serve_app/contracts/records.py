"""What lies in which topic and travels on which subject: the table that the published contract is made of.

A topic without a row, or a row without a topic, fails `tests/contracts/test_published_contracts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import create_model

from messaging import topics
from messaging.subjects import ALL_BARS, ALL_TICKS, CLOCK_SUBJECT, HALT_SUBJECT
from models.audit import DenialReport, SignedHead
from models.events import (
    Beat,
    Checkpoint,
    Claim,
    ModelAdded,
    ModelMoved,
    ModelRetired,
    SequenceMark,
    Undelivered,
)
from models.evidence import ModelEvidence, Outcome, Shadow
from models.halt import Halt
from models.market import Bar, MarketClock, Tick
from models.outcome import RecordedDecision
from models.prediction import Prediction, Skipped
from models.signal import Signal
from models.subscription import Entitlement, Subscription
from models.tenant import (
    ApiKeyRecord,
    EndedSession,
    PlatformConfigRecord,
    SigningKeyRecord,
    TenantRecord,
    UserRecord,
)
from models.usage import SubscriptionViolation, TenantLimitApproaching, UsageReport
from models.user_event import EVENT_KINDS, DataType, EventKind, EventMark, UserEvent


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record. `name` names its schema file, `key` says what a record of it is keyed by.

    `type` is what its value is read as; None for one whose value is kept as it was found.
    """

    name: str
    key: str
    summary: str
    type: Any = None
    tombstone: bool = False


def _event(data_type: DataType, kind: EventKind) -> Kind:
    """The envelope with the body of its topic."""
    typed = create_model(f"{data_type.value}_event", __base__=UserEvent, body=(kind.body, ...))
    key = "user_id" if kind.part is None else f"JSON array of tenant_id, user_id, body.{kind.part}"
    types = ", ".join(sorted(kind.types))
    return Kind(f"hub.user-event-1.{data_type.value}", key, f"One of: {types}", typed)


CLAIM: Final = Kind("hub.claim-1", "`~claim`", "Makes its writer the owner of the partition it is in", Claim)

RECORDS: Final[Mapping[str, tuple[Kind, ...]]] = {
    topics.MODELS.name: (
        CLAIM,
        Kind("hub.model-added-1", "model@version", "A checked model entered the catalogue", ModelAdded),
        Kind("hub.model-moved-1", "model@version", "A model got another status", ModelMoved),
        Kind("hub.model-retired-1", "model@version", "A model answers nothing from here on", ModelRetired),
    ),
    topics.DECISIONS.name: (
        Kind("hub.decision-1", "decision id", "A routed request, and what became of it", RecordedDecision),
    ),
    topics.PREDICTIONS.name: (
        CLAIM,
        Kind("hub.prediction-1", "symbol", "A forecast for a due slot", Prediction),
        Kind("hub.prediction-1.skipped", "symbol", "A due slot without a forecast, and why", Skipped),
        Kind("hub.shadow-1", "`~shadow`", "Forecasts made beside the one that counts", Shadow),
    ),
    topics.SUBSCRIPTIONS.name: (
        Kind(
            "hub.subscription-1",
            "JSON array of user, account, strategy, symbol",
            "What a user wants to receive, and within which bounds",
            Subscription,
            tombstone=True,
        ),
        Kind(
            "hub.entitlement-1",
            "JSON array of user and `~entitlement`",
            "Tier and end of all that a user receives; wins over what the subscriptions say",
            Entitlement,
            tombstone=True,
        ),
    ),
    topics.SIGNALS.name: (
        CLAIM,
        Kind("hub.signal-1", "user_id", "A prediction projected for one user and account", Signal),
        Kind("hub.beat-1", "`~beat`", "The partition's owner lives, and how far it is", Beat),
        Kind("hub.undelivered-1", "`~undelivered`", "A slot that reached nobody here in time", Undelivered),
    ),
    topics.SIGNALS_DLQ.name: (
        Kind("dead-letter", "as it was", "What no reader can read, with its provenance in `dlq-` headers"),
    ),
    topics.SIGNAL_STATE.name: (
        Kind("hub.checkpoint-1", "`~checkpoint`", "An owner's fold up to a position", Checkpoint),
        Kind("hub.mark-1", "`~mark:` user, place in a ring", "Where a user's signal lies", SequenceMark),
    ),
    topics.EVENT_MARKS.name: (
        Kind("hub.event-mark-1", "`~event-mark:` user, topic, window", "Where events lie", EventMark),
    ),
    topics.OUTCOMES.name: (
        CLAIM,
        Kind("hub.outcome-1", "symbol", "How the forecasts of a moment did", Outcome),
    ),
    topics.EVIDENCE.name: (
        Kind("hub.evidence-1", "model@version", "What a model's outcomes come to", ModelEvidence),
    ),
    topics.TENANTS.name: (
        Kind("hub.tenant-1", '`["tenant", id]`', "A tenant, for all who let somebody in", TenantRecord),
        Kind(
            "hub.user-1",
            '`["user", tenant, id]`',
            "What is to be known of a user",
            UserRecord,
            tombstone=True,
        ),
        Kind(
            "hub.ended-session-1",
            '`["session", id]`',
            "A session whose tokens do not count any more",
            EndedSession,
            tombstone=True,
        ),
        Kind(
            "hub.api-key-1",
            '`["api_key", id]`',
            "An API key that is good, as a hash",
            ApiKeyRecord,
            tombstone=True,
        ),
        Kind(
            "hub.signing-key-1",
            '`["signing_key", id]`',
            "The public half of a key that signs tokens",
            SigningKeyRecord,
            tombstone=True,
        ),
        Kind(
            "hub.platform-config-1",
            '`["platform_config", layer]`',
            "A layer of the config above the tenants",
            PlatformConfigRecord,
            tombstone=True,
        ),
    ),
    topics.USAGE.name: (
        Kind("hub.usage-1", "source", "What a process counted since its last report", UsageReport),
    ),
    topics.DENIALS.name: (
        Kind("hub.denials-1", "tenant_id", "What a process denied people of a tenant", DenialReport),
    ),
    topics.TENANT_EVENTS.name: (
        Kind(
            "hub.tenant-limit-approaching-1",
            "tenant_id",
            "A tenant has used so many percent of a month's limit",
            TenantLimitApproaching,
        ),
        Kind(
            "hub.subscription-violation-1",
            "tenant_id",
            "A tenant went beyond what it pays for",
            SubscriptionViolation,
        ),
    ),
    topics.AUDIT_HEADS.name: (
        Kind("hub.audit-head-1", "tenant_id", "How far a tenant's audit log had come, signed", SignedHead),
    ),
    topics.CONTROL.name: (
        Kind("hub.halt-1", "JSON array of scope, id", "A kill switch that is on", Halt, tombstone=True),
    ),
    **{kind.topic: (_event(data_type, kind),) for data_type, kind in EVENT_KINDS.items()},
}
"""By topic."""

MESSAGES: Final[Mapping[str, Kind]] = {
    ALL_TICKS: Kind("hub.tick", "", "A quote of one symbol", Tick),
    CLOCK_SUBJECT: Kind("hub.clock", "", "Market time: all before it has been sent", MarketClock),
    ALL_BARS: Kind("hub.bar", "", "Mid prices between two closes", Bar),
    HALT_SUBJECT: Kind("hub.halt-1", "", "A halt, told sooner than the log can", Halt),
}
"""By subject. A subject without a row carries nothing that others may rely on."""


def kinds() -> dict[str, Kind]:
    """Every kind by name; a record's where a message is of the same."""
    records = {kind.name: kind for some in RECORDS.values() for kind in some}
    return {kind.name: kind for kind in MESSAGES.values()} | records
