"""User events: their envelope, and the one table of what may be written, where, and by whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import Field, StringConstraints

from models.base import Frozen
from models.event_bodies import (
    AuthBody,
    BacktestBody,
    Body,
    CommandBody,
    Mt5StatusBody,
    RiskAlertBody,
    SettingsBody,
    TradeBody,
    TransactionBody,
)

EVENT_BLOCK: Final = 32_768
"""Offsets of a partition that one mark speaks for: few marks, so that hardly a save waits for one."""
BLOCKS_KEPT: Final = 4_096
"""Blocks back from the end that can be marked; older ones give their keys away."""

EventId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{7,63}$")]


class DataType(StrEnum):
    """What a user event is about: the founding documents' `data_type`."""

    AUTH = "auth"
    SETTINGS = "settings"
    COMMANDS = "commands"
    TRADES = "trades"
    MT5_STATUS = "mt5_status"
    RISK_ALERTS = "risk_alerts"
    TRANSACTIONS = "transactions"
    BACKTESTS = "backtests"


class UserEvent(Frozen):
    """One event of one user; value of the `user.*` topics. A repeat of an `event_id` is the same event.

    `type` and `body` were checked against `EVENT_KINDS` when it was saved; they are read as they are, because
    another release may have saved them. `occurred_ns` is the writer's clock, `at_ns` the hub's.
    """

    schema_: Literal["hub.user-event/1"] = Field("hub.user-event/1", alias="schema")
    event_id: str
    tenant_id: str
    user_id: str
    type: str
    occurred_ns: int
    at_ns: int
    body: dict[str, Any]


class EventMark(Frozen):
    """Says that among the `EVENT_BLOCK` offsets from `offset` of a user's partition of `topic` lies an event
    of the user. Value of `user.event_marks`; writing it twice changes nothing.
    """

    schema_: Literal["hub.event-mark/1"] = Field("hub.event-mark/1", alias="schema")
    user_id: str
    topic: str
    offset: int


def event_mark_key(user_id: str, topic: str, offset: int) -> bytes:
    """The compaction key of a mark."""
    return orjson.dumps([user_id, topic, offset // EVENT_BLOCK % BLOCKS_KEPT])


@dataclass(frozen=True, slots=True)
class EventKind:
    """A row of the table. `part` names the field of the body that keys a compacted topic beside the user.
    What is not `by_user` is written by services and admins alone: a user must not invent its own trades.
    """

    topic: str
    body: type[Body]
    types: frozenset[str]
    by_user: bool
    part: str | None = None

    def key(self, event: UserEvent) -> bytes:
        """The record's key: the user id, or a JSON array, so that no separator can be forged by an id."""
        if self.part is None:
            return event.user_id.encode()
        return orjson.dumps([event.tenant_id, event.user_id, event.body.get(self.part)])


EVENT_KINDS: Final[Mapping[DataType, EventKind]] = {
    DataType.AUTH: EventKind(
        "user.auth",
        AuthBody,
        frozenset({"login", "logout", "login_failed", "password_changed", "mfa_changed", "key_created"}),
        by_user=False,
    ),
    DataType.SETTINGS: EventKind(
        "user.settings", SettingsBody, frozenset({"settings_saved"}), by_user=True, part="document"
    ),
    DataType.COMMANDS: EventKind(
        "user.commands",
        CommandBody,
        frozenset({"place_order", "modify_order", "cancel_order", "close_position", "pause", "resume"}),
        by_user=True,
    ),
    DataType.TRADES: EventKind(
        "user.trades",
        TradeBody,
        frozenset({"opened", "modified", "partially_closed", "closed", "rejected", "cancelled"}),
        by_user=False,
    ),
    DataType.MT5_STATUS: EventKind(
        "user.mt5_status", Mt5StatusBody, frozenset({"status"}), by_user=False, part="account_id"
    ),
    DataType.RISK_ALERTS: EventKind(
        "user.risk_alerts",
        RiskAlertBody,
        frozenset({"margin_call", "stop_out", "breaker_tripped", "limit_reached", "undelivered"}),
        by_user=False,
    ),
    DataType.TRANSACTIONS: EventKind(
        "user.transactions",
        TransactionBody,
        frozenset({"deposit", "withdrawal", "fee", "transfer", "adjustment"}),
        by_user=False,
    ),
    DataType.BACKTESTS: EventKind(
        "user.backtests", BacktestBody, frozenset({"started", "finished", "failed"}), by_user=True
    ),
}
"""Addresses come from here and never from input."""
