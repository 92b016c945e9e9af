"""Promised against observed: how often outcomes lie in the intervals that the hub answers with.

Replay of real ticks without Ray (`benchmarks/covering`): the running system's bars and windows, the real ONNX
models, the shipped judge, fold and rule for the calibration in force. A forecast knows what was published
before it, once a minute of market time; the tracker writes once a second. Only market time counts that no
live model was trained or calibrated on. Which models are live was decided on it: that is said, not hidden.

`worst_excess` is over all live models, two levels and every rolling window of 5,000 outcomes, beyond two
standard errors clustered by hour. Then a change of regime is planted at eight moments: from there on every
move of the market is twice as large, and half in a second series, and no window shows it. What counts is the
coverage of 2,000 outcomes after the first 500. The peers on the same forecasts: the card's calibration for
ever, and adaptive conformal inference. Coverage alone is cheap for whoever may answer with very wide and very
narrow intervals in turn, so `loss_bp`, the interval score over all levels, stands beside it: lower is better.
Data are looked for in `--data`, as training does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.covering.measure import LEVELS, ROLLING, Off, after, off_of, rolling, worst
from benchmarks.covering.replay import Change, Replay, Seen
from benchmarks.covering.scene import Scene, load_scene
from benchmarks.covering.ways import Adaptive, Card, Hub, Way
from benchmarks.harness import Benchmark, Report
from routing.evidence.rules import EvidenceRules
from training.plan import PLAN_FILE, load_plan

PUBLISH_CLOSES: Final = 6
TIMES: Final = {"change": 2.0, "calm": 0.5}
"""The planted changes: by how much moves are larger."""
MOMENTS: Final = 8
BEFORE: Final = 1_500
SKIPPED: Final = 500
COUNTED: Final = 2_000
_SLACK: Final = 600
"""Steps beyond those: after a break windows fill up again, and there are prices without forecasts."""
LEAST: Final = 10_000
"""Forecasts of a model that rolling windows, halves and moments are worth something with."""
_PLAN: Final = Path(__file__).parents[1] / PLAN_FILE

Makes = Mapping[str, Callable[[], Way]]
All = Mapping[str, Mapping[str, Seen]]
"""Outcomes by way and model."""


def run(report: Report) -> None:
    """All outcomes by every way, ours twice; then the planted changes."""
    scene = _scene(report.data)
    rules = EvidenceRules()
    makes: Makes = {
        "hub": partial(Hub, scene.cards, rules),
        "card": partial(Card, scene.cards),
        "aci": partial(Adaptive, scene.cards, rules),
    }
    seen = {way: _replayed(scene, make) for way, make in makes.items()}
    _tell(seen)
    _add_rolling(report, seen)
    _add_spreads(report, seen["hub"], _replayed(scene, makes["hub"]))
    for name, times in TIMES.items():
        _add_changed(report, name, {way: changed(scene, make, times) for way, make in makes.items()})


def _scene(data: Path) -> Scene:
    try:
        scene = load_scene(data, load_plan(_PLAN))
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    made = sum(bool(step.forecasts) for step in scene.steps)
    if made < LEAST:
        sys.exit(f"error: {data} is enough for {made:,} forecasts of a model; {LEAST:,} are needed")
    first, last = (datetime.fromtimestamp(scene.steps[at].close_ms / 1000, UTC) for at in (0, -1))
    print(
        f"  {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, {made:,} forecasts of each live model, none"
    )
    print(f"  of which was trained or calibrated on it; evidence is published every {PUBLISH_CLOSES} closes")
    return scene


def _replayed(scene: Scene, make: Callable[[], Way], change: Change | None = None) -> dict[str, Seen]:
    return Replay(scene, make(), publish_closes=PUBLISH_CLOSES, change=change).seen()


def changed(scene: Scene, make: Callable[[], Way], times: float) -> list[Off]:
    """Coverage once a change has been there for a while, by moment, model and level."""
    offs: list[Off] = []
    needed = SKIPPED + COUNTED + _SLACK
    for moment in np.linspace(BEFORE, len(scene.steps) - needed, MOMENTS).astype(int).tolist():
        part = scene.cut(moment - BEFORE, moment + needed)
        at_ms = part.steps[BEFORE].close_ms
        for seen in _replayed(part, make, Change(at_ms, times)).values():
            counted = after(seen, at_ms, skipped=SKIPPED, counted=COUNTED)
            offs += [off_of(counted, level) for level in LEVELS]
    return offs


def _tell(seen: All) -> None:
    """Promised and observed over all outcomes."""
    print(f"  {'model':<14}{'promised':>10}" + "".join(f"{way:>10}" for way in seen) + f"{'2 errors':>10}")
    for model in sorted(seen["hub"]):
        for level in LEVELS:
            offs = [off_of(seen[way][model], level) for way in seen]
            observed = "".join(f"{one.observed:>10.4f}" for one in offs)
            print(f"  {model:<14}{level:>10.2f}{observed}{2 * offs[0].error:>10.4f}")


def _add_rolling(report: Report, seen: All) -> None:
    for way, models in seen.items():
        offs = [one for its in models.values() for level in LEVELS for one in rolling(its, level)]
        excess, off = worst(offs)
        says = f"of {len(offs):,} windows of {ROLLING:,} outcomes, {way}"
        report.add(f"{_prefix(way)}worst_excess", excess, f"beyond two standard errors, the worst {says}")
        report.add(f"{_prefix(way)}worst_off", off, f"|observed - promised|, the worst {says}")
        loss_bp = float(np.mean([its.loss_bp.mean() for its in models.values()]))
        report.add(f"{_prefix(way)}loss_bp", loss_bp, f"bp, interval score of all models and levels, {way}")
    for model, its in sorted(seen["hub"].items()):
        for level in LEVELS:
            one = off_of(its, level)
            report.add(f"observed_{level:.2f}_{model}", one.observed, f"of {one.n:,} outcomes, hub")


def _add_spreads(report: Report, seen: Mapping[str, Seen], again: Mapping[str, Seen]) -> None:
    """The replay has no chance in it; how much the market has, its two halves show."""
    report.add("aa_spread", apart(seen, again), "share, the hub replayed twice")
    middle = min(len(its.inside) for its in seen.values()) // 2
    halves = [
        {model: its.part(first, first + middle) for model, its in seen.items()} for first in (0, middle)
    ]
    report.add("aa_halves", apart(*halves), "share, the hub's first half of the outcomes and its second")


def apart(first: Mapping[str, Seen], second: Mapping[str, Seen]) -> float:
    """How far observed coverage of the same models differs, the worst model and level."""
    return max(
        abs(off_of(first[model], level).observed - off_of(second[model], level).observed)
        for model in first
        for level in LEVELS
    )


def _add_changed(report: Report, name: str, offs: Mapping[str, list[Off]]) -> None:
    for way, found in offs.items():
        excess, off = worst(found)
        says = f"{COUNTED:,} outcomes after {SKIPPED}, moves x {TIMES[name]:g}, {way}"
        report.add(f"{_prefix(way)}excess_after_{name}", excess, f"beyond two errors, the worst: {says}")
        report.add(f"{_prefix(way)}off_after_{name}", off, f"the worst of {MOMENTS} moments, {way}")
        for level in LEVELS:
            observed = float(np.mean([one.observed for one in found if one.promised == level]))
            report.add(f"{_prefix(way)}observed_{level:.2f}_after_{name}", observed, f"mean of all, {way}")
    report.add(f"n_after_{name}", min(one.n for one in offs["hub"]), "fewest outcomes that a share is of")


def _prefix(way: str) -> str:
    return "" if way == "hub" else f"{way}_"


BENCHMARK: Final = Benchmark(
    name="coverage",
    question="How far is observed coverage off the promised, rolling and after a change of regime?",
    run=run,
    timed=False,
)
