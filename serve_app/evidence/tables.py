"""What was promised against what was observed, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.table import Table
from rich.text import Text

from models.card import POOLED, Bounded
from models.evidence import ModelEvidence
from models.promises import Comparison, LevelKept, Verdict, VersionEvidence
from serve_app.commands.options import NARROW
from serve_app.evidence.charts import moment

_STYLES: Final = {
    Verdict.KEPT: "green",
    Verdict.BROKEN: "bold red",
    Verdict.TOO_WIDE: "yellow",
    Verdict.NOT_YET_KNOWN: "dim",
}
_UNKNOWN: Final = "-"
_MEASURES: Final = (
    ("skill", "skill", "+.3f"),
    ("pinball_skill", "pinball skill", "+.3f"),
    ("direction_accuracy", "direction", ".3f"),
)


def summary(version: VersionEvidence, *, first_bounds_ms: int) -> str:
    """What there is of a version, and when to expect more: its first bounds after so much market time."""
    head = f"{version.name}@{version.version} is {version.status}, calibration {version.calibration}"
    return "\n".join((head, _promised(version), *_observed(version, first_bounds_ms)))


def coverage(compared: list[Comparison]) -> Table:
    """Promised against observed, by instrument and level."""
    table = _table(
        "coverage", "instrument", right=("promised", "on the card", "observed", "95 % bounds", "n")
    )
    table.add_column("verdict")
    for item in compared:
        name = instrument_name(item.instrument)
        for number, level in enumerate(item.levels):
            table.add_row(Text("" if number else name), *_level(level))
        table.add_row()
    return table


def measures(version: VersionEvidence, compared: list[Comparison]) -> Table:
    """Skill and direction, on the card and live."""
    table = _table("measures", "instrument", "", right=("card", "95 % bounds", "live", "95 % bounds", "n"))
    for item in compared:
        card = version.promised_on(item.card_instrument)
        live = version.observed_on(item.instrument)
        for number, (field, label, form) in enumerate(_MEASURES):
            name = "" if number else instrument_name(item.instrument)
            on_card, observed = getattr(card, field, None), getattr(live, field, None)
            table.add_row(
                Text(name), label, *_shown(on_card, form), *_shown(observed, form), _count(observed)
            )
        table.add_row()
    return table


def instrument_name(instrument: str) -> str:
    """As people read it."""
    return "all" if instrument == POOLED else instrument


def _promised(version: VersionEvidence) -> str:
    if not version.promised:
        return "promised: nothing was measured before; its intervals claim their levels all the same"
    first = version.promised[0]
    return f"promised: from {first.n:,} forecasts, {_day(first.period_from)} to {_day(first.period_to)}"


def _observed(version: VersionEvidence, first_bounds_ms: int) -> Iterator[str]:
    live = version.observed
    if live is None:
        yield "observed: nothing yet"
    else:
        yield (
            f"observed: {live.outcomes:,} outcomes, {live.answered:,} of them answers, "
            f"{moment(live.from_ms)} to {moment(live.to_ms)} UTC"
        )
        yield from _service(live)
    if live is None or not live.instruments:
        yield (
            f"an outcome is known {_minutes(version.horizon_ms)} of market time after its forecast, "
            f"the first bounds after about {_minutes(first_bounds_ms)}"
        )


def _service(live: ModelEvidence) -> Iterator[str]:
    median, worst = live.service_ms
    yield (
        f"in a replica: median {median:.2f} ms, 99 % within {worst:.2f} ms; "
        f"{live.failures:,} of the last {live.asked:,} requests gave no forecast"
    )
    if live.drift > 0:
        yield f"lately: coverage of a level is off its promise by {live.drift:.3f} at least"


def _level(level: LevelKept) -> tuple[str | Text, ...]:
    card, _ = _shown(level.card, ".3f")
    verdict = Text(level.verdict, style=_STYLES[level.verdict])
    return (
        f"{level.promised:.2f}",
        card,
        *_shown(level.observed, ".3f"),
        _count(level.observed),
        verdict,
    )


def _shown(measured: Bounded | None, form: str) -> tuple[str, str]:
    """Value and bounds."""
    if measured is None:
        return _UNKNOWN, _UNKNOWN
    return f"{measured.value:{form}}", f"{measured.lower:{form}} to {measured.upper:{form}}"


def _count(measured: Bounded | None) -> str:
    return f"{measured.n:,}" if measured else _UNKNOWN


def _table(title: str, *left: str, right: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", **NARROW)
    for heading in left:
        table.add_column(heading, no_wrap=True)
    for heading in right:  # in a narrow terminal bounds take two lines: better than half a number
        table.add_column(heading, justify="right")
    return table


def _day(moment_text: str) -> str:
    """A card's period to the minute; some name days alone."""
    return moment_text[:16].replace("T", " ")


def _minutes(ms: int) -> str:
    return f"{ms / 60_000:g} min"
