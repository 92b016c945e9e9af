"""Signals as bytes, in microseconds: what all users share is encoded once, the user's part appended.

The bytes are a valid `models.signal.Signal`; `check_signal` states what holds beyond its validator, and the
tests parse what is rendered here for any ids. Control records are rare, and encoded by their own types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import orjson
from pydantic import TypeAdapter

from models.base import Frozen
from models.ids import delivery_id, delivery_prefix, signal_id
from models.prediction import Owed, Prediction, Skipped, Slot
from models.signal import Signal, Source
from models.strategy import TargetFractionPolicy
from signals.book import Subscriber
from signals.policy import action_for
from signals.projection import Case, project

_OWED: Final[TypeAdapter[Prediction | Skipped]] = TypeAdapter(Owed)
_UNSHARED: Final = len("00000000-0000-0000-0000-000000000000") + 20
"""Of a rendered signal: the delivery id and the longest sequence."""
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


class Outcome(NamedTuple):
    """What the users in one case are asked for: its kind, the end of their signals, and what they hold then
    (None: as before).
    """

    kind: str
    ending: bytes
    holds: float | None


class Body:
    """One owed slot, ready to be rendered for any number of subscribers.

    `stages` adds stage times that the record itself could not know, such as its own acknowledgement.
    """

    def __init__(
        self,
        owed: Prediction | Skipped,
        *,
        source: Source,
        policy: TargetFractionPolicy,
        stages: Mapping[str, int] | None = None,
        clock_error_ns: int = 0,
    ) -> None:
        self._action = action_for(policy, owed)
        self._prefix = delivery_prefix(UUID(owed.slot.signal_id))
        self._shared = _shared(owed, source=source, stages=stages or {}, clock_error_ns=clock_error_ns)
        self._outcomes: dict[Case, Outcome] = {}

    def delivery_id(self, subscriber: Subscriber) -> str:
        """`models.ids.delivery_id` as text, without building a UUID object."""
        digest = self._prefix.copy()
        digest.update(subscriber.delivery_seed)
        raw = digest.hexdigest()
        return f"{raw[:8]}-{raw[8:12]}-8{raw[13:16]}-{_VARIANT[raw[16]]}{raw[17:20]}-{raw[20:]}"

    def batch(self, *, epoch: int, part: tuple[int, int], subscription_offset: int, now_ns: int) -> BatchBody:
        """The body as all records of one batch begin; `part` is (i, n), counted from 1, of the slot's."""
        head = (
            f'{self._shared},"epoch":{epoch},"part":[{part[0]},{part[1]}],'
            f'"subscription_offset":{subscription_offset},"projected_ns":{now_ns},"delivery_id":"'
        )
        return BatchBody(self, head.encode())

    def outcome(self, case: Case) -> Outcome:
        """What users in this case are asked for, projected once per case."""
        known = self._outcomes.get(case)
        if known is None:
            known = self._outcomes[case] = self._project(case)
        return known

    def _project(self, case: Case) -> Outcome:
        projected, bounds = project(self._action, case), case.bounds
        action = projected.action
        risk: dict[str, object] = {
            "tier": bounds.tier,
            "scale": bounds.scale,
            "limits_hit": projected.limits_hit,
        }
        if bounds.per_minute is not None:
            risk["per_minute"] = bounds.per_minute
        members = _members(
            {
                "kind": action.kind,
                "direction": action.direction,
                "target_fraction": action.target_fraction,
                "reason": action.reason,
                "risk": risk,
            }
        )
        return Outcome(action.kind.value, f",{members}}}".encode(), projected.holds)


class BatchBody:
    """Renders the signals of one batch: their common beginning is encoded once, for all users.

    `shared_bytes` is the most that a signal can take besides the subscriber's `own_bytes` and its outcome.
    """

    def __init__(self, body: Body, head: bytes) -> None:
        self._body = body
        self._head = head
        self.shared_bytes = len(head) + _UNSHARED

    def render(
        self, subscribers: Sequence[Subscriber], sequences: Sequence[int], outcomes: Sequence[Outcome]
    ) -> list[bytes]:
        """The signals of the subscribers, in their order."""
        head, join, delivery_id = self._head, b"".join, self._body.delivery_id
        return [
            join((head, delivery_id(one).encode(), one.identity, b"%d" % sequence, outcome.ending))
            for one, sequence, outcome in zip(subscribers, sequences, outcomes, strict=True)
        ]


def _shared(
    owed: Prediction | Skipped, *, source: Source, stages: Mapping[str, int], clock_error_ns: int
) -> str:
    """Everything that all users of a prediction share, as JSON without the closing brace."""
    forecast = owed.forecast.model_dump() if isinstance(owed, Prediction) else None
    lineage = owed.lineage.model_dump() if isinstance(owed, Prediction) else None
    members = _members(
        {
            "schema": "hub.signal/1",
            **owed.slot.model_dump(),
            "asof_ms": owed.asof_ms,
            "generated_ns": owed.generated_ns,
            "expires_ns": owed.expires_ns,
            "clock_error_ns": clock_error_ns,
            "forecast": forecast,
            "reference": owed.reference.model_dump() if owed.reference else None,
            "lineage": lineage,
            "source": source.model_dump(),
            "stages": {**owed.stages, **stages},
            "traceparent": owed.traceparent,
        }
    )
    return "{" + members


def _members(values: Mapping[str, object]) -> str:
    return orjson.dumps(values).decode()[1:-1]


def encode(record: Frozen) -> bytes:
    """A prediction, a skipped slot or a control record as it travels."""
    return record.model_dump_json(by_alias=True).encode()


def decode_owed(value: bytes) -> Prediction | Skipped:
    """The value of a `hub.predictions` record, by `Frozen.from_record`; ValidationError if it is none."""
    return _OWED.validate_json(value, extra="ignore")


def slot_id(slot: Slot) -> str:
    """The signal id that the slot's own fields derive."""
    return str(
        signal_id(
            strategy=slot.strategy,
            symbol=slot.symbol,
            bar_close_ms=slot.bar_close_ms,
            horizon_ms=slot.horizon_ms,
        )
    )


def check_signal(signal: Signal) -> list[str]:
    """What a signal gets wrong beyond its own validator: ids that its fields do not derive, a target beyond
    the account, a part that is none. Empty if nothing.
    """
    derived = signal_id(
        strategy=signal.strategy,
        symbol=signal.symbol,
        bar_close_ms=signal.bar_close_ms,
        horizon_ms=signal.horizon_ms,
    )
    delivery = delivery_id(delivery_prefix(derived), user_id=signal.user_id, account_id=signal.account_id)
    rules = {
        f"signal_id should be {derived}": signal.signal_id == str(derived),
        f"delivery_id should be {delivery}": signal.delivery_id == str(delivery),
        "target_fraction lies outside [-1, 1]": abs(signal.target_fraction or 0.0) <= 1.0,
        "part is not one of its batches": 1 <= signal.part[0] <= signal.part[1],
        "sequence starts at 1": signal.sequence >= 1,
    }
    return [text for text, holds in rules.items() if not holds]
