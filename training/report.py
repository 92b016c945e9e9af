"""What was measured, as a table for the terminal and for `model_repository/README.md`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.table import Table

from models.card import Bounded, Evidence, ModelCard
from training.plan import Plan

_HEADINGS: Final = (
    "model",
    "status",
    "coverage at 95 %",
    "interval score, bp",
    "skill against naive",
    "pinball skill",
    "direction right",
    "1 row p50, ms",
    "64 rows p50, ms",
)
_NARROW: Final = (0, 1, 2, 4, 6, 7)

_INTRODUCTION: Final = """\
# Model repository

Written by `python -m training`; do not edit by hand. Each `<name>/<version>/` holds `model.onnx` and
`card.yaml`. How to add your own: `docs/your-own-model.md`.

## What was measured

Task `time_series_forecast`: the log return over {horizon_s:.0f} s from 256 bars of {bar_s:.0f} s.

| part | market time |
|---|---|
| train | {train} |
| calibration | {calibration} |
| test | {test} |

The parts are in order of time, never shuffled, with an embargo of at least {embargo} (a window and a
horizon) between them. The demo plays ticks of the test part.

**Honest words.** No model here knows where the price will go: the share of right directions is about one
half, and a spread is several times as large as the typical forecast. What is measured and promised is
*coverage*: how often the outcome lies inside the interval of a level. Models differ by how narrow they can
keep it: the interval score (lower is better) and its skill, 1 - score / score of the naive control. A model
that is not light and does not beat the best light one by two standard errors is `load-only`: it gives the
router something slow to know, and is picked only by name.

Brackets hold 95 % bounds. Windows overlap, so errors are clustered by hour of market time, over all
instruments. Times are processor time of one thread on the machine that trained.

The test part is one week of May 2014: {amounts}. It says little about other times, and NZDUSD has ticks of
half a day and of one quiet evening only, too thin for more than a rough picture.
"""


def table(cards: Sequence[ModelCard]) -> Table:
    """Pooled evidence, the naive control first; the columns that fit a terminal."""
    view = Table(*(_HEADINGS[column] for column in _NARROW), title="pooled evidence on the test part")
    for card in cards:
        cells = _row(card, card.evidence_for("*"))
        view.add_row(*(cells[column] for column in _NARROW))
    return view


def markdown(cards: Sequence[ModelCard], plan: Plan) -> str:
    """The repository's README."""
    introduction = _INTRODUCTION.format(
        horizon_s=plan.horizon_ms / 1000,
        bar_s=plan.bar_ms / 1000,
        train=plan.train,
        calibration=plan.calibration,
        test=plan.test,
        embargo=plan.embargo,
        amounts=_amounts(cards[0]),
    )
    sections = [_section(cards, instrument) for instrument in ("*", *plan.instruments)]
    return "\n".join([introduction, *sections])


def _section(cards: Sequence[ModelCard], instrument: str) -> str:
    title = "All instruments" if instrument == "*" else instrument
    lines = [f"### {title}", "", _line(_HEADINGS), _line(["---"] * len(_HEADINGS))]
    lines += [_line(_row(card, card.evidence_for(instrument))) for card in cards]
    return "\n".join([*lines, ""])


def _amounts(card: ModelCard) -> str:
    return ", ".join(
        f"{item.instrument} {item.n:,} windows" for item in card.evidence if item.instrument != "*"
    )


def _row(card: ModelCard, evidence: Evidence) -> list[str]:
    warm = {profile.rows: f"{profile.p50_ms:.3f}" for profile in card.warm}
    return [
        card.name,
        card.status.value,
        _percent(evidence.coverage["0.95"]),
        f"{evidence.interval_score.value:.4f}",
        _percent(evidence.skill),
        _percent(evidence.pinball_skill),
        _percent(evidence.direction_accuracy),
        warm[1],
        warm[64],
    ]


def _percent(measured: Bounded) -> str:
    return f"{measured.value:.1%} [{measured.lower:.1%}, {measured.upper:.1%}]"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
