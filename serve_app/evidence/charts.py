"""What is plotted of a model's history, whatever it is drawn with: coverage and skill over market time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from models.card import POOLED
from models.evidence import Stretch
from models.promises import VersionEvidence

PLOTTED_LEVELS: Final = (0.90, 0.95)
_MARGIN: Final = 0.05
_LEAST_SPAN: Final = 0.02


@dataclass(frozen=True, slots=True)
class Line:
    """Observed values, one per moment of its chart; None where nothing is known."""

    label: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over market time, with `marks` across: what was promised, by label."""

    title: str
    at_ms: tuple[int, ...]
    lines: tuple[Line, ...]
    marks: dict[str, float]

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest value that fit in, with a margin."""
        known = [value for line in self.lines for value in line.values if value is not None]
        shown = [*known, *self.marks.values()]
        low, high = min(shown), max(shown)
        margin = max(_MARGIN * (high - low), _LEAST_SPAN)
        return low - margin, high + margin


def charts_of(version: VersionEvidence) -> list[Chart]:
    """Coverage, and skill if any was measured; none before there is a history."""
    history = version.observed.history if version.observed else ()
    if not history:
        return []
    charts = [_coverage(version, history)]
    if any(stretch.skill is not None for stretch in history):
        charts.append(_skill(version, history))
    return charts


def moment(ms: int) -> str:
    """Market time to the minute, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _coverage(version: VersionEvidence, history: Sequence[Stretch]) -> Chart:
    keys = [f"{level:.2f}" for level in PLOTTED_LEVELS]
    lines = (Line(key, tuple(stretch.coverage.get(key) for stretch in history)) for key in keys)
    marks = {f"promised {key}": level for key, level in zip(keys, PLOTTED_LEVELS, strict=True)}
    return Chart(f"{_name(version)}: coverage, all instruments", _middles(history), tuple(lines), marks)


def _skill(version: VersionEvidence, history: Sequence[Stretch]) -> Chart:
    card = version.promised_on(POOLED)
    marks = {"naive": 0.0} | ({f"on the card {card.skill.value:+.3f}": card.skill.value} if card else {})
    line = Line("skill", tuple(stretch.skill for stretch in history))
    return Chart(f"{_name(version)}: skill, all instruments", _middles(history), (line,), marks)


def _middles(history: Sequence[Stretch]) -> tuple[int, ...]:
    return tuple((stretch.from_ms + stretch.to_ms) // 2 for stretch in history)


def _name(version: VersionEvidence) -> str:
    return f"{version.name}@{version.version}"
