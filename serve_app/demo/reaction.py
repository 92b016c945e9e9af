"""How the router reacted to a slowed replica, measured from the times at which it decided."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

from serve_app.demo.throttle import RUNNING_S, STOPPED_S

SETTLING_S: Final = 2.0
"""The share while slowed is taken after so many seconds: that is what the router is given to notice."""
_WINDOW_NS: Final = 1_000_000_000
_SECOND_NS: Final = 1_000_000_000
DecidedNs = Mapping[str, Sequence[int]]
"""Per replica the wall times of the decisions for it that were answered."""


class Unanswered(TypedDict):
    """A slot that got no forecast: when it was given up, `timeout` or `refused`, and what was said."""

    at_ns: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Slowing:
    """Which replica was slowed, and from when to when, wall time."""

    replica: str
    pool: str
    from_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Reaction:
    """Shares of all picks that went to the slowed replica; None where nothing was picked at all.

    `moved_s`: seconds from the first stop to the first decision after which, for a second, the replica got
    less than a quarter of the share it had before; None if that never came. `unanswered`: slots that got no
    forecast while it was slowed.
    """

    replica: str
    pool: str
    slowed_s: float
    share_before: float | None
    share_during: float | None
    share_after: float | None
    moved_s: float | None
    unanswered: int


@dataclass(frozen=True, slots=True)
class Picks:
    """When a replica was picked, and when any was; both in order of time."""

    own: Sequence[int]
    every: Sequence[int]

    @classmethod
    def of(cls, replica: str, decided_ns: DecidedNs, timeouts: Sequence[Unanswered]) -> Picks:
        """A slot that timed out is held against the replica, unless another is named as the cause."""
        others = [name for name in decided_ns if name != replica]
        blamed = [one["at_ns"] for one in timeouts if not any(name in one["detail"] for name in others)]
        own = sorted([*decided_ns.get(replica, ()), *blamed])
        return cls(own, sorted([*own, *(at for name in others for at in decided_ns[name])]))

    def share(self, from_ns: int, until_ns: int) -> float | None:
        """Share of the replica from one moment until before another."""
        own, every = (bisect_left(at, until_ns) - bisect_left(at, from_ns) for at in (self.own, self.every))
        return own / every if every else None

    def first_below(self, limit: float, from_ns: int, until_ns: int) -> int | None:
        """The first decision that begins a second in which the share is below the limit."""
        last_ns = until_ns - _WINDOW_NS
        begins = self.every[bisect_left(self.every, from_ns) : bisect_left(self.every, last_ns + 1)]
        return next((at for at in begins if (self.share(at, at + _WINDOW_NS) or 0.0) < limit), None)


def reaction_of(slowing: Slowing, decided_ns: DecidedNs, unanswered: Sequence[Unanswered]) -> Reaction:
    """Of the slots in `unanswered`, those refused went to no replica; those that timed out did."""
    from_ns, until_ns = slowing.from_ns, slowing.until_ns
    given_up = [one for one in unanswered if from_ns <= one["at_ns"] < until_ns]
    timeouts = [one for one in given_up if one["reason"] == "timeout"]
    picks = Picks.of(slowing.replica, decided_ns, timeouts)
    before = picks.share(0, from_ns)
    moved_ns = picks.first_below(before / 4, from_ns, until_ns) if before else None
    return Reaction(
        replica=slowing.replica,
        pool=slowing.pool,
        slowed_s=round((until_ns - from_ns) / _SECOND_NS, 3),
        share_before=_rounded(before),
        share_during=_rounded(picks.share(from_ns + int(SETTLING_S * _SECOND_NS), until_ns)),
        share_after=_rounded(picks.share(until_ns, picks.every[-1] + 1 if picks.every else until_ns)),
        moved_s=None if moved_ns is None else round((moved_ns - from_ns) / _SECOND_NS, 3),
        unanswered=len(given_up),
    )


def reaction_lines(reaction: Reaction | None) -> list[str]:
    """The reaction as people read it."""
    if reaction is None:
        return ["by two thirds of the playback no running replica had been picked: nobody was slowed"]
    shares = (reaction.share_before, reaction.share_during, reaction.share_after)
    before, during, after = map(_percent, shares)
    return [
        (
            f"replica {reaction.replica} of pool {reaction.pool} had most picks, so it was slowed for "
            f"{reaction.slowed_s:.1f} s: stopped for {1000 * STOPPED_S:.0f} ms, running for "
            f"{1000 * RUNNING_S:.0f} ms, by turns"
        ),
        (
            f"its share of the picks: {before} before, {during} while slowed (without the first "
            f"{SETTLING_S:.0f} s), {after} after it was let go"
        ),
        _moved(reaction.moved_s),
        f"slots without a forecast while it was slowed: {reaction.unanswered}",
    ]


def _moved(moved_s: float | None) -> str:
    if moved_s is None:
        return "in no whole second did it get less than a quarter of its former share"
    over = "it got, over a second, less than a quarter of its former share"
    return f"from {moved_s:.2f} s after the first stop {over}"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
