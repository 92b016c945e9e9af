"""Who may do what at the brokers, as data: one principal per service, with what it reads and what it owns.

`messaging/kafka/acls.py` and `messaging/nats/permissions.py` make the brokers' own rules of it, `hub topics
acls` prints them, and `tests/contracts/test_broker_permissions.py` has every principal try everything. What
is not named here is denied: nobody but the fan-out writes `user.signals`, so no reader can forge a claim, and
nobody but gateway, control plane and operator says that a halt is in force.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from messaging.subjects import ALL_BARS, ALL_TICKS, BARS_STREAM, CLOCK_SUBJECT, HALT_SUBJECT, TICKS_STREAM
from messaging.topics import (
    AUDIT_HEADS,
    CONTROL,
    DECISIONS,
    DENIALS,
    EVENT_MARKS,
    EVIDENCE,
    FANOUT,
    FORECASTER,
    MODELS,
    OUTCOMES,
    PREDICTIONS,
    REGISTRY,
    SIGNAL_STATE,
    SIGNALS,
    SIGNALS_DLQ,
    SUBSCRIPTIONS,
    TENANT_EVENTS,
    TENANTS,
    TOPICS,
    TRACKER,
    USAGE,
    USER_EVENTS,
    Topic,
)

READER_GROUPS: Final = "reader-"
"""Consumer groups of services outside the hub begin so; the hub's own are out of their reach."""


@dataclass(frozen=True, slots=True)
class MarketAccess:
    """Rights on NATS: subjects as in `messaging.subjects`, and the JetStream streams that are read.

    Who reads makes the streams if they are not there; nobody alters, empties or deletes one. Reading is a
    matter of trust: a consumer, and what a new stream republishes, go to any subject that their maker names.
    """

    publishes: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """What one principal may do. `owns` are the topics it writes; `group` is its consumer group, or with
    `any_group` the beginning of those it may use. `administers`: makes topics and sees how they are set.
    """

    principal: str
    purpose: str
    reads: tuple[Topic, ...] = ()
    owns: tuple[Topic, ...] = ()
    group: str | None = None
    any_group: bool = False
    administers: bool = False
    market: MarketAccess | None = None


_EVENTS: Final = (EVENT_MARKS, *USER_EVENTS)

Room = Literal["gateway", "registry", "pool", "forecaster", "fanout", "tracker", "stream", "control"]

ROOMS: Final[dict[Room, Access]] = {
    "gateway": Access(
        "hub-gateway",
        "the HTTP API",
        reads=(
            MODELS,
            EVIDENCE,
            PREDICTIONS,
            SUBSCRIPTIONS,
            SIGNALS,
            SIGNAL_STATE,
            TENANTS,
            CONTROL,
            *_EVENTS,
        ),
        owns=(SUBSCRIPTIONS, DECISIONS, USAGE, DENIALS, CONTROL, *_EVENTS),
        market=MarketAccess(publishes=(HALT_SUBJECT,), hears=(HALT_SUBJECT,), follows=(BARS_STREAM,)),
    ),
    "registry": Access(
        "hub-registry",
        "the catalogue of models",
        reads=(MODELS, EVIDENCE),
        owns=(MODELS,),
        group=REGISTRY.name,
    ),
    "pool": Access("hub-pool", "inference, with models that are registered at run time", reads=(MODELS,)),
    "forecaster": Access(
        "hub-forecaster",
        "ticks to predictions",
        reads=(MODELS, EVIDENCE, PREDICTIONS, CONTROL),
        owns=(PREDICTIONS,),
        group=FORECASTER.name,
        market=MarketAccess(
            publishes=(ALL_BARS,),
            hears=(HALT_SUBJECT,),
            follows=(TICKS_STREAM, BARS_STREAM),
        ),
    ),
    "fanout": Access(
        "hub-fanout",
        "predictions to each user's signals",
        reads=(PREDICTIONS, SUBSCRIPTIONS, SIGNALS, SIGNAL_STATE, CONTROL),
        owns=(SIGNALS, SIGNAL_STATE),
        group=FANOUT.name,
        market=MarketAccess(hears=(HALT_SUBJECT,)),
    ),
    "tracker": Access(
        "hub-tracker",
        "what became of forecasts",
        reads=(PREDICTIONS, OUTCOMES),
        owns=(OUTCOMES, EVIDENCE),
        group=TRACKER.name,
    ),
    "stream": Access(
        "hub-stream", "signals to sockets", reads=(SIGNALS, SIGNAL_STATE, TENANTS), owns=(USAGE, DENIALS)
    ),
    "control": Access(
        "hub-control-plane",
        "tenants, people, config; what they use and what is kept of users",
        reads=(TENANTS, AUDIT_HEADS, USAGE, DENIALS, SUBSCRIPTIONS, SIGNALS, DECISIONS, CONTROL, *_EVENTS),
        owns=(TENANTS, AUDIT_HEADS, USAGE, DENIALS, TENANT_EVENTS, SUBSCRIPTIONS, CONTROL, *_EVENTS),
        market=MarketAccess(publishes=(HALT_SUBJECT,), hears=(HALT_SUBJECT,)),
    ),
}
"""The rooms of the hub that talk to a broker, by the name that `principals` has in the settings."""

OPERATOR: Final = Access(
    "hub-operator",
    "the command line: topics, halts",
    reads=TOPICS,
    owns=(CONTROL,),
    administers=True,
    market=MarketAccess(publishes=(HALT_SUBJECT,), hears=(HALT_SUBJECT,)),
)
AUDITOR: Final = Access(
    "hub-auditor",
    "draws up the ledger, and checks the audit logs",
    reads=(SIGNALS, SIGNAL_STATE, PREDICTIONS, SUBSCRIPTIONS, AUDIT_HEADS),
)
READER: Final = Access(
    "hub-reader",
    "a service outside the hub that acts on signals",
    reads=(SIGNALS, SIGNAL_STATE, CONTROL),
    owns=(SIGNALS_DLQ,),
    group=READER_GROUPS,
    any_group=True,
)
COLLECTOR: Final = Access(
    "hub-collector",
    "feeds ticks, the market clock and the bars before them",
    market=MarketAccess(publishes=(ALL_TICKS, CLOCK_SUBJECT, ALL_BARS)),
)

PRINCIPALS: Final = (*ROOMS.values(), OPERATOR, AUDITOR, READER, COLLECTOR)
