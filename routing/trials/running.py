"""What experiments have shown so far, and whether that is enough to stop.

Every request of an arm counts as one observation. Where one user makes many requests, those are more alike
than requests of different users, and intervals are narrower than they should be: see docs/experiments.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from models.base import Frozen
from models.outcome import OK, DecisionOutcome
from routing.trials.confidence import Interval, Moments, difference
from routing.trials.experiments import Experiments, Metric, Spec, arms_of

CHECK_EVERY: Final = 64
"""Observations of an arm between two looks at whether it does harm."""


class Verdict(StrEnum):
    """`worse` stops the experiment by itself; the other ends are for its owner to act on."""

    TOO_FEW = "too few yet"
    GOING_ON = "no difference seen yet"
    BETTER = "better than the control"
    WORSE = "worse than the control"
    NO_DIFFERENCE = "no difference within the interval"


class ArmReport(Frozen):
    """One arm: requests, means by metric (None without an observation), the difference to the control."""

    arm: str
    n: int
    completion_ms: float | None
    met: float | None
    cost: float | None
    intervals: dict[Metric, Interval]
    verdict: Verdict | None


class TrialReport(Frozen):
    """One experiment. `metric` is what verdicts are given by."""

    name: str
    kind: str
    asked: str
    metric: Metric
    alpha: float
    stopped: bool
    arms: tuple[ArmReport, ...]


class ArmTally:
    """What was observed of one arm."""

    def __init__(self) -> None:
        self.n = 0
        self.completion_ms = Moments()
        self.met = Moments()
        self._picks: Counter[str] = Counter()

    def add(self, outcome: DecisionOutcome) -> None:
        self.n += 1
        if outcome.outcome == OK:
            self.completion_ms.add(outcome.elapsed_ms)
        if outcome.met is not None:
            self.met.add(float(outcome.met))
        if outcome.decision is not None:
            self._picks[str(outcome.decision.chosen)] += 1

    def moments(self, metric: Metric, costs: Mapping[str, float]) -> Moments:
        """Of one metric; costs are by `name@version`, and picks of a model without one are left out."""
        if metric is Metric.COST:
            return _weighted({costs[model]: n for model, n in self._picks.items() if model in costs})
        return self.met if metric is Metric.MET else self.completion_ms


class Trials:
    """Takes the outcomes of requests that take part in an experiment. Belongs to one event loop."""

    def __init__(self, experiments: Experiments) -> None:
        self._experiments = experiments
        self._arms = {(spec.name, arm): ArmTally() for spec in experiments.specs for arm in arms_of(spec)}

    def observe(self, outcome: DecisionOutcome, costs: Mapping[str, float]) -> None:
        """Count an outcome; stops its experiment if the arm turns out to do harm."""
        assigned = outcome.assignment
        tally = self._arms.get((assigned.experiment, assigned.arm)) if assigned else None
        if assigned is None or tally is None:
            return
        tally.add(outcome)
        if tally.n % CHECK_EVERY == 0:
            report = self.report(assigned.experiment, costs)
            if any(arm.verdict is Verdict.WORSE for arm in report.arms):
                self._experiments.stopped.add(assigned.experiment)

    def reports(self, costs: Mapping[str, float]) -> tuple[TrialReport, ...]:
        """All experiments, in the order of their file."""
        return tuple(self.report(spec.name, costs) for spec in self._experiments.specs)

    def report(self, name: str, costs: Mapping[str, float]) -> TrialReport:
        spec = next(spec for spec in self._experiments.specs if spec.name == name)
        return TrialReport(
            name=name,
            kind=spec.kind,
            asked=spec.asked,
            metric=spec.metric,
            alpha=spec.stop.alpha,
            stopped=name in self._experiments.stopped,
            arms=tuple(self._arm(spec, arm, costs) for arm in arms_of(spec)),
        )

    def _arm(self, spec: Spec, arm: str, costs: Mapping[str, float]) -> ArmReport:
        control, *_ = arms_of(spec)
        tally, usual = self._arms[spec.name, arm], self._arms[spec.name, control]
        moments = {metric: tally.moments(metric, costs) for metric in Metric}
        intervals = {
            metric: found
            for metric, mine in moments.items()
            if arm != control and (found := _interval(spec, usual.moments(metric, costs), mine))
        }
        means = {metric.value: mine.mean if mine.n else None for metric, mine in moments.items()}
        verdict = None if arm == control else _verdict(spec, usual, tally, intervals.get(spec.metric))
        return ArmReport(arm=arm, n=tally.n, **means, intervals=intervals, verdict=verdict)


def _interval(spec: Spec, control: Moments, treatment: Moments) -> Interval | None:
    stop = spec.stop
    return difference(control, treatment, alpha=stop.alpha, narrowest_at=max(1, stop.max_n // 4))


def _verdict(spec: Spec, control: ArmTally, treatment: ArmTally, found: Interval | None) -> Verdict:
    """What the interval of the experiment's own metric says."""
    if found is None or min(control.n, treatment.n) < spec.stop.min_n:
        return Verdict.TOO_FEW
    if found.lower > 0.0 or found.upper < 0.0:
        higher_is_better = spec.metric is Metric.MET
        return Verdict.BETTER if (found.lower > 0.0) == higher_is_better else Verdict.WORSE
    enough = control.n + treatment.n >= spec.stop.max_n
    return Verdict.NO_DIFFERENCE if enough else Verdict.GOING_ON


def _weighted(counts: Mapping[float, int]) -> Moments:
    """Moments of values that occurred so many times each."""
    n = sum(counts.values())
    mean = sum(value * count for value, count in counts.items()) / n if n else 0.0
    return Moments(n, mean, sum(count * (value - mean) ** 2 for value, count in counts.items()))
