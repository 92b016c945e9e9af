"""What one process's routing came to, since its start and over the last minutes, by whatever one asks by.

One cell per (model, replica, profile, tier), for all time and for each minute that is kept. A view of this
process alone: others route, too, and see other replicas' load.

A breakdown of many cells takes long, so it is made in short steps, with requests counted in between. It takes
each cell in one step and everything else from what it took: its figures agree with each other, whatever came
meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, Self

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
DIMENSIONS: Final = ("by_model", "by_replica", "by_profile", "by_tier")
"""The fields of a breakdown, in the order of a cell's names."""
TOTAL: Final = "total"
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

    @classmethod
    def of(cls, steps: Breaking) -> Self:
        """What the steps come to, for who can wait for all of them."""
        fields = Part.none()
        for part in steps:
            if part is not None:
                part.put(fields, part.figures)
        return cls(**fields)


class Part(NamedTuple):
    """Some figures of a breakdown: its total, or what is under one name in the field `by`."""

    by: str
    name: str
    figures: Figures

    @staticmethod
    def none() -> dict[str, Any]:
        """The fields of a breakdown to which no part was put yet."""
        return {by: {} for by in DIMENSIONS}

    def put(self, fields: dict[str, Any], figures: object) -> None:
        """Put the figures, in whatever form, in their place."""
        if self.by == TOTAL:
            fields[TOTAL] = figures
        else:
            fields[self.by][self.name] = figures


Breaking = Iterator[Part | None]
"""The steps to a breakdown: each is a few merges, which give nothing yet, or the figures of one tally."""


class Analytics:
    """Takes outcomes as they come. Belongs to one event loop."""

    def __init__(self) -> None:
        self._ever: Cells = {}
        self._minutes: dict[int, Cells] = {}

    def observe(self, outcome: DecisionOutcome) -> None:
        """Count a request that has ended."""
        cell = _cell_of(outcome)
        _tally(self._ever, cell).add(outcome)
        _tally(self._minute(outcome.ended_ns // _MINUTE_NS), cell).add(outcome)

    def since_start(self) -> Breaking:
        """Of every request so far."""
        return _breakdown(list(self._ever.items()))

    def recent(self, now_ns: int, *, minutes: int) -> Breaking:
        """Of the minute that is running and those before it, as many as asked for and kept."""
        first = now_ns // _MINUTE_NS - minutes + 1
        asked = (cells for minute, cells in self._minutes.items() if minute >= first)
        return _breakdown([item for cells in asked for item in cells.items()])

    def _minute(self, minute: int) -> Cells:
        """The cells of a minute; of one that is no longer kept, cells that nobody reads."""
        cells = self._minutes.get(minute)
        if cells is None:
            cells = self._minutes[minute] = {}
            for old in sorted(self._minutes)[:-MINUTES_KEPT]:
                del self._minutes[old]
        return cells


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


def _breakdown(taken: Iterable[tuple[Cell, Tally]]) -> Breaking:
    """Tallies of one cell together first: every further merge is of fewer tallies."""
    cells: Cells = {}
    for cell, tally in taken:
        cells.setdefault(cell, Tally()).merge(tally)
        yield None
    groups: tuple[dict[str, Tally], ...] = ({}, {}, {}, {})
    for cell, tally in cells.items():
        for group, name in zip(groups, cell, strict=True):
            group.setdefault(name, Tally()).merge(tally)
        yield None
    total = Tally()
    for tally in groups[-1].values():
        total.merge(tally)
    yield Part(TOTAL, "", total.figures())
    for by, group in zip(DIMENSIONS, groups, strict=True):
        for name in sorted(group.keys() - {NONE}):
            yield Part(by, name, group[name].figures())
