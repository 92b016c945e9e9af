"""What the card of an ensemble says because of its members, whoever wrote it: nothing of it is claimed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Final

from models.card import Calibration, ModelCard, WarmProfile
from models.task import INTERVAL_LEVELS
from routing.latency import warm_at

_TAIL: Final = 0.90
"""The level whose half-width is the scale of an ensemble."""
_WAY_MS: Final = 2.0
"""To a replica and back, until it is measured."""
_MEMBER_MS: Final = 0.2
"""To decide on one member, to send its call and to take its answer."""


def described(card: ModelCard, members: Sequence[ModelCard]) -> ModelCard:
    """The card with all that follows from its members, of which there is at least one; without evidence.

    It reads what the longest window needs, serves the instruments that all serve, takes no more rows than the
    smallest does and costs what all of them cost.
    """
    return card.model_copy(
        update={
            "contract": card.contract.model_copy(
                update={
                    "window_tail": max(member.contract.window_tail for member in members),
                    "instruments": _served_by_all(members),
                }
            ),
            "max_size": min((member.max_size for member in members), key=lambda size: size.max_rows),
            "cost": sum(member.cost for member in members),
            "warm": warm_together(members),
            "calibration": _calibration(card, members),
            "evidence": (),
        }
    )


def warm_together(members: Sequence[ModelCard]) -> tuple[WarmProfile, ...]:
    """The slowest member at every number of rows that one was measured at, and what it takes to ask them all:
    the way to a replica and 0.2 ms for each. Only a start: it is learned from the ensemble's own replies.
    """
    extra_ms = _WAY_MS + _MEMBER_MS * len(members)
    measured = sorted({profile.rows for member in members for profile in member.warm})
    return tuple(profile for rows in measured if (profile := _slowest(members, rows, extra_ms)))


def _slowest(members: Sequence[ModelCard], rows: int, extra_ms: float) -> WarmProfile | None:
    found = [point for member in members if (point := warm_at(member.warm, rows))]
    if not found:
        return None
    return WarmProfile(
        rows=rows,
        p50_ms=round(max(p50_ms for p50_ms, _ in found) + extra_ms, 4),
        p99_ms=round(max(p50_ms * tail for p50_ms, tail in found) + extra_ms, 4),
        n=min(profile.n for member in members for profile in member.warm),
    )


def _served_by_all(members: Sequence[ModelCard]) -> tuple[str, ...]:
    chosen = [set(found) for member in members if "*" not in (found := member.contract.instruments)]
    return tuple(sorted(chosen[0].intersection(*chosen))) if chosen else ("*",)


def _calibration(card: ModelCard, members: Sequence[ModelCard]) -> Calibration:
    """Half-widths relative to that at 0.90, as they are among the members on average."""
    theirs = [member.calibration for member in members]
    return Calibration(
        version=f"{card.name}-{card.version}-members",
        n=min(one.n for one in theirs),
        multipliers={
            f"{level:.2f}": fmean(one.multiplier(level) / one.multiplier(_TAIL) for one in theirs)
            for level in INTERVAL_LEVELS
        },
    )
