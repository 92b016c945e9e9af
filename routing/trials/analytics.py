"""What one process's routing came to, since its start and over the last minutes, by whatever one asks by.

One cell per (model, replica, profile, tier) and minute; minutes that nobody asks for any more are added up.
A view of this process alone: others route, too, and see other replicas' load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from models.base import Frozen
from models.errors import UnknownProfile
from models.outcome import DecisionOutcome
from routing.trials.tally import Figures, Tally

MINUTES_KEPT: Final = 15
CELLS_KEPT: Final = 4096
"""Cells of a minute; what comes on top is counted under OTHER."""
OTHER: Final = "other"
NONE: Final = "none"
"""Model and replica of a request that was refused before there was a choice."""
_MINUTE_NS: Final = 60_000_000_000

Cell = tuple[str, str, str, str]
"""Model, replica, profile, tier."""
Cells = dict[Cell, Tally]


class Breakdown(Frozen):
    """Figures of all requests, and by what they have in common."""

    total: Figures
    by_model: dict[str, Figures]
    by_replica: dict[str, Figures]
    by_profile: dict[str, Figures]
    by_tier: dict[str, Figures]


class Analytics:
    """Takes outcomes as they come. Belongs to one event loop."""

    def __init__(self) -> None:
        self._minutes: dict[int, Cells] = {}
        self._past: Cells = {}

    def observe(self, outcome: DecisionOutcome) -> None:
        """Count a request that has ended."""
        cells = self._cells(outcome.ended_ns // _MINUTE_NS)
        _tally(cells, _cell_of(outcome)).add(outcome)

    def since_start(self) -> Breakdown:
        """Of every request so far."""
        return _breakdown([self._past, *self._minutes.values()])

    def recent(self, now_ns: int, *, minutes: int) -> Breakdown:
        """Of the minute that is running and those before it, as many as asked for and kept."""
        first = now_ns // _MINUTE_NS - minutes + 1
        return _breakdown(cells for minute, cells in self._minutes.items() if minute >= first)

    def _cells(self, minute: int) -> Cells:
        if minute not in self._minutes:
            self._minutes[minute] = {}
            for old in sorted(self._minutes)[:-MINUTES_KEPT]:
                _merge(self._past, self._minutes.pop(old))
        return self._minutes.get(minute, self._past)


def _cell_of(outcome: DecisionOutcome) -> Cell:
    decision = outcome.decision
    profile = OTHER if outcome.outcome == UnknownProfile.code else outcome.profile  # made up by a client
    if decision is None:
        return NONE, NONE, profile, outcome.tier
    return str(decision.chosen), decision.replica, profile, outcome.tier


def _tally(cells: Cells, cell: Cell) -> Tally:
    """The cell's tally; once there are too many cells, that of all others."""
    found = cells.get(cell)
    if found is None:
        _, _, profile, tier = cell
        place = cell if len(cells) < CELLS_KEPT else (OTHER, OTHER, profile, tier)
        found = cells.setdefault(place, Tally())
    return found


def _merge(into: Cells, cells: Mapping[Cell, Tally]) -> None:
    for cell, tally in cells.items():
        _tally(into, cell).merge(tally)


def _breakdown(parts: Iterable[Cells]) -> Breakdown:
    """Cells of all parts together first: every further merge is of fewer tallies."""
    cells: Cells = {}
    for part in parts:
        for cell, tally in part.items():
            cells.setdefault(cell, Tally()).merge(tally)
    models, replicas, profiles, tiers = (_grouped(cells, dimension) for dimension in range(4))
    total = Tally()
    for tally in tiers.values():
        total.merge(tally)
    return Breakdown(
        total=total.figures(),
        by_model=_figures(models),
        by_replica=_figures(replicas),
        by_profile=_figures(profiles),
        by_tier=_figures(tiers),
    )


def _grouped(cells: Cells, dimension: int) -> dict[str, Tally]:
    groups: dict[str, Tally] = {}
    for cell, tally in cells.items():
        groups.setdefault(cell[dimension], Tally()).merge(tally)
    return groups


def _figures(tallies: Mapping[str, Tally]) -> dict[str, Figures]:
    return {name: tally.figures() for name, tally in sorted(tallies.items()) if name != NONE}
