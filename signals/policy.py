"""From a forecast to an action: what a strategy wants to hold, before any user's risk settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.forecast import Forecast
from models.prediction import Prediction, Skipped
from models.signal import Kind
from models.strategy import TargetFractionPolicy


@dataclass(frozen=True, slots=True)
class Action:
    """Desired state: `target_fraction` of the account in [-1, 1], None where the kind asks for nothing."""

    kind: Kind
    direction: int
    target_fraction: float | None
    reason: str


def abstain(reason: str) -> Action:
    """The action that asks for nothing and says why."""
    return Action(kind=Kind.ABSTAIN, direction=0, target_fraction=None, reason=reason)


def close(reason: str) -> Action:
    """The action that asks to hold nothing."""
    return Action(kind=Kind.CLOSE, direction=0, target_fraction=None, reason=reason)


def toward(target: float, reason: str) -> Action:
    """Adjust to `target`; abstain if that is nothing."""
    if target == 0:
        return abstain(f"{reason}; the target is 0")
    return Action(kind=Kind.ADJUST, direction=1 if target > 0 else -1, target_fraction=target, reason=reason)


def action(policy: TargetFractionPolicy, forecast: Forecast) -> Action:
    """Decide: target = clip(gain x q50 / (q95 - q05), -1, 1); abstain if its size is below `min_edge`.

    The median in units of the interval's width is the edge the model sees relative to its own doubt.
    """
    width = forecast.q95 - forecast.q05
    if not (width > 0 and math.isfinite(width) and math.isfinite(forecast.q50)):
        return abstain(f"the forecast has no usable interval (width {width!r})")
    edge = policy.gain * forecast.q50 / width
    if abs(edge) < policy.min_edge:
        return abstain(f"edge {edge:+.4f} is below min_edge {policy.min_edge:g}")
    return toward(max(-1.0, min(1.0, edge)), f"edge {edge:+.4f}")


def action_for(policy: TargetFractionPolicy, owed: Prediction | Skipped) -> Action:
    """The action of a slot: of its forecast, or an abstain that says why there is none."""
    if isinstance(owed, Skipped):
        return abstain(f"no forecast: {owed.reason.value} ({owed.detail})")
    return action(policy, owed.forecast)
