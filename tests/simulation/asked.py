"""The second half of the judge: what users were asked to do, held against their limits and the halts.

Like the first it shares no rule with the code it judges: it walks over the valid signals of a partition in
order and adds up by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from models.halt import HaltScope
from models.subscription import RiskSettings

OBEYED_NS: Final = 1_500_000_000
"""By when a halt must be obeyed while brokers stand still and networks are cut: who cannot know within a
second asks for nothing."""
_MINUTE_NS: Final = 60 * 10**9
_ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class HaltSpan:
    """Something was halted from one moment to another, by the broker's clock."""

    scope: HaltScope
    id: str
    from_ns: int
    to_ns: int

    def covers(self, body: Mapping[str, Any]) -> bool:
        """Whether it stops this signal."""
        lineage = body["lineage"] or {}
        named = {
            HaltScope.ALL: "*",
            HaltScope.USER: body["user_id"],
            HaltScope.TENANT: body["tenant_id"],
            HaltScope.STRATEGY: body["strategy"],
            HaltScope.MODEL: f"{lineage.get('model')}@{lineage.get('version')}",
        }
        in_force = self.from_ns + OBEYED_NS < body["projected_ns"] < self.to_ns
        return bool(in_force and named[self.scope] == self.id)


class Asked:
    """Goes through the signals of one partition that ask for something."""

    def __init__(self, limits: Mapping[str, RiskSettings], halts: Sequence[HaltSpan]) -> None:
        self._limits = limits
        self._halts = halts
        self._held: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        self._times: dict[tuple[str, str, str, str], list[int]] = defaultdict(list)

    def take(self, body: Mapping[str, Any]) -> Iterable[str]:
        """What is wrong with the next valid signal."""
        if body["kind"] == "abstain":
            return
        target, held = body["target_fraction"] or 0.0, self._held[body["user_id"], body["account_id"]]
        before = held.get(body["symbol"], 0.0)
        held[body["symbol"]] = target
        if before * target < 0:
            yield f"turned: {_where(body)} goes from {before} to {target}"
        if any(halt.covers(body) for halt in self._halts):
            yield f"heedless: {_where(body)} asks for {target} though it was halted"
        yield from self._check_limits(body, held)

    def _check_limits(self, body: Mapping[str, Any], held: Mapping[str, float]) -> Iterable[str]:
        limits = self._limits.get(body["user_id"], RiskSettings())
        times = self._times[body["user_id"], body["account_id"], body["strategy"], body["symbol"]]
        times.append(body["generated_ns"])
        most = limits.max_signals_per_minute
        if most and len(times) > most and times[-1] - times[-1 - most] < _MINUTE_NS:
            yield f"crowded: {_where(body)} is one more than {most} within a minute"
        exposure = sum(map(abs, held.values()))
        if limits.max_exposure is not None and exposure > limits.max_exposure + _ROUNDING:
            yield f"exposed: {_where(body)} makes {exposure} of at most {limits.max_exposure}"


def _where(body: Mapping[str, Any]) -> str:
    return f"{body['strategy']} {body['symbol']} {body['bar_close_ms']} for {body['user_id']}"
