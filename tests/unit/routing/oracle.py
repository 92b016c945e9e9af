"""The router once more, by brute force and from the written rules: plain loops, no arrays, nothing kept.

Shares no code with `routing/`. `Beliefs` folds the history of calls, `decide` walks over every pair.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, median

from models.card import ModelCard, ModelStatus, WarmProfile
from models.task import INTERVAL_LEVELS
from tests.unit.routing.worlds import START_MS, Call, World

TAU, SLOW_TAU, GAIN, LEVEL, HOP = 1000.0, 30_000.0, 0.3, 0.95, 2.0
SIZES = (8, 256, 4096)
BAD = {"failed", "timeout", "lost"}


def fresh(now: float, seen: float | None, tau: float) -> float:
    """1 for just now, towards 0 with age, 0 for never."""
    return 0.0 if seen is None else math.exp(-max(0.0, now - seen) / tau)


def bucket(rows: int) -> int:
    """Most rows of the size class."""
    return next((size for size in SIZES if rows <= size), SIZES[-1])


def line(points: list[tuple[int, float]], x: float) -> float:
    """Piecewise linear through the points, flat before the first."""
    if x <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


def warm(profiles: list[WarmProfile], rows: int) -> tuple[float, float] | None:
    """Warm service time and p99 / p50 at a number of rows."""
    if not profiles:
        return None
    ordered = sorted(profiles, key=lambda profile: profile.rows)
    last = ordered[-1]
    service = line([(profile.rows, profile.p50_ms) for profile in ordered], rows)
    if rows > last.rows and len(ordered) > 1:
        slope = (last.p50_ms - ordered[-2].p50_ms) / (last.rows - ordered[-2].rows)
        service = last.p50_ms + max(0.0, slope) * (rows - last.rows)
    return service, line([(profile.rows, profile.p99_ms / profile.p50_ms) for profile in ordered], rows)


class Beliefs:
    """What a caller with this history believes at the time of the decision."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.own: dict[str, int] = defaultdict(int)
        self.foreign: dict[str, tuple[float, float]] = {}
        self.slots = {name: meta.slots for name, meta in world.replicas.items()}
        self.boots: dict[str, list[str]] = defaultdict(list)
        self.seqs: dict[str, int] = defaultdict(lambda: -1)
        self.values: dict[tuple[str, str, int], tuple[float, float]] = {}
        self.answered: dict[tuple[str, str, int], bool] = {}
        self.medians: dict[tuple[str, str, str, int], tuple[float, float]] = {}
        self.ratios: dict[tuple[str, str, str, int], list[float]] = {}
        self.hop: tuple[float, float | None] = (HOP, None)
        self.errors: dict[str, float] = defaultdict(float)
        self.times: dict[str, int] = defaultdict(int)
        self.out: dict[str, tuple[str, float]] = {}
        now = float(START_MS)
        for call in world.calls:
            now = self.fold(call, now + call.pause_ms)
        self.now = float(world.now_ms)

    def fold(self, call: Call, now: float) -> float:
        """Take one call, sent at `now`; returns when it ended."""
        name = call.replica
        if call.outcome is None:
            self.own[name] += 1
            return now
        now += call.elapsed_ms
        self.now = now
        report = call.report
        if report:
            if self.news(call):
                self.slots[name] = report.slots
                self.foreign[name] = (max(0.0, report.queued + report.in_service - self.own[name]), now)
        elif call.outcome == "refused":
            self.foreign[name] = (max(self.slots[name], self.others(name)), now)
        self.judge(name, call.outcome.value, now)
        if str(call.card.key) in self.world.replicas[name].models and call.elapsed_ms > 0:
            self.learn(call, now)
        return now

    def news(self, call: Call) -> bool:
        """Whether the report is plausible and newer than what was heard before."""
        report, boots = call.report, self.boots[call.replica]
        if report is None or min(report.queued, report.in_service) < 0:
            return False
        if report.boot not in boots:
            boots.append(report.boot)
            self.seqs[call.replica] = -1
        elif report.boot != boots[-1]:
            return False
        newer = report.seq > self.seqs[call.replica]
        self.seqs[call.replica] = max(report.seq, self.seqs[call.replica])
        return newer

    def judge(self, name: str, outcome: str, now: float) -> None:
        """Let the outcome move the error gate."""
        if outcome == "ok":
            self.errors[name] *= 0.8
            if self.errors[name] < 0.25:
                self.times[name] = 0
            if self.out.get(name, ("", 0))[0] == "unreachable":
                del self.out[name]
        if outcome in BAD:
            self.errors[name] += (1 - self.errors[name]) * 0.2
            if self.errors[name] > 0.5 and not now < self.out.get(name, ("", 0.0))[1]:
                self.out[name] = ("errors", now + min(30_000, 1000 * 2 ** self.times[name]))
                self.times[name] += 1
        if outcome == "lost":
            self.out[name] = ("unreachable", now + 6000)

    def learn(self, call: Call, now: float) -> None:
        """Let the outcome move speeds, ratios and the hop."""
        key = (call.replica, str(call.card.key), bucket(call.rows))
        assert call.outcome
        if call.outcome.value in BAD:
            self.observe(key, max(call.elapsed_ms, call.budget_ms), now, answered=False)
        elif call.outcome == "ok" and call.report and 0 < call.report.service_ms <= 600_000:
            self.observe(key, call.report.service_ms, now, answered=True)
            self.ring(*key).append(call.elapsed_ms / call.expected_ms)
            hop = call.elapsed_ms - call.report.queue_ms - call.report.service_ms
            if hop > 0:
                before = self.hop_ms()
                self.hop = (before + (hop - before) * 0.1, now)

    def observe(self, key: tuple[str, str, int], observed: float, now: float, *, answered: bool) -> None:
        """Move one belief towards an observation, the more the older it is."""
        belief = self.service(*key)
        seen = self.values.get(key, (0.0, None))[1]
        weight = 1 - (1 - GAIN) * fresh(now, seen, TAU)
        self.values[key] = (belief + (observed - belief) * weight, now)
        self.answered[key] = answered
        if answered:
            self.share(*key)

    def share(self, name: str, model: str, size: int) -> None:
        """The group's median of those that answered when last asked, and when the newest of them did."""
        keys = [(mate, model, size) for mate in self.mates(name, model)]
        known = [self.values[key] for key in keys if self.answered.get(key)]
        if known:
            self.medians[self.group(name, model, size)] = (
                median(v for v, _ in known),
                max(s for _, s in known),
            )

    def hop_ms(self) -> float:
        """The way there and back."""
        return HOP + (self.hop[0] - HOP) * fresh(self.now, self.hop[1], SLOW_TAU)

    def group(self, name: str, model: str, size: int) -> tuple[str, str, str, int]:
        """What its mates share."""
        meta = self.world.replicas[name]
        return meta.pool, meta.hardware, model, size

    def mates(self, name: str, model: str) -> list[str]:
        """Replicas of the same pool and hardware that hold the model."""
        own = self.world.replicas[name]
        return [
            other
            for other, meta in self.world.replicas.items()
            if (meta.pool, meta.hardware) == (own.pool, own.hardware) and model in meta.models
        ]

    def warm(self, name: str, model: str, size: int) -> tuple[float, float]:
        """The group's warm profile, else that of the pool's models, else what is assumed of the unknown."""
        pool = self.world.replicas[name].pool
        group = [self.world.replicas[mate].models[model] for mate in self.mates(name, model)]
        whole = [
            profiles
            for meta in self.world.replicas.values()
            if meta.pool == pool
            for profiles in meta.models.values()
        ]
        for measured in (group, whole):
            known = [point for profiles in measured if (point := warm(profiles, size))]
            if known:
                return median(p for p, _ in known), median(t for _, t in known)
        return 10.0, 3.0

    def ring(self, name: str, model: str, size: int) -> list[float]:
        """Ratios of actual to predicted completion, seeds first."""
        key = self.group(name, model, size)
        if key not in self.ratios:
            sigma = math.log(self.warm(name, model, size)[1]) / NormalDist().inv_cdf(0.99)
            self.ratios[key] = [math.exp(sigma * NormalDist().inv_cdf((i + 0.5) / 64)) for i in range(64)]
        return self.ratios[key]

    def service(self, name: str, model: str, size: int) -> float:
        """Service time believed."""
        base = self.warm(name, model, size)[0]
        middle, seen = self.medians.get(self.group(name, model, size), (0.0, None))
        typical = base + (middle - base) * fresh(self.now, seen, SLOW_TAU)
        value, at = self.values.get((name, model, size), (0.0, None))
        return typical + (value - typical) * fresh(self.now, at, TAU)

    def tails(self, name: str, model: str, size: int) -> tuple[float, float]:
        """The measured 95 % ratio, and the same relaxed to the warm one by age."""
        ring = self.ring(name, model, size)
        measured, seeded = (
            max(1.0, sorted(r)[math.ceil((len(r) + 1) * LEVEL) - 1]) for r in (ring, ring[:64])
        )
        weight = fresh(self.now, self.medians.get(self.group(name, model, size), (0.0, None))[1], SLOW_TAU)
        return measured, seeded + (measured - seeded) * weight

    def calls(self, name: str) -> float:
        """Calls queued or running."""
        return self.own[name] + self.others(name)

    def others(self, name: str) -> float:
        """What is left of the calls that were not ours."""
        calls, heard = self.foreign.get(name, (0.0, None))
        return calls * fresh(self.now, heard, TAU)


@dataclass(frozen=True)
class Pair:
    """One candidate as the oracle sees it."""

    model: str
    replica: str
    expected_ms: float
    quantile_ms: float
    p_meet: float
    level: float
    feasible: bool
    score: float
    tie: float


@dataclass(frozen=True)
class Verdict:
    """Models that match, pairs on offer, those the choice may fall on, and whether the gate gave way."""

    models: list[str]
    pairs: list[Pair]
    best: set[tuple[str, str]]
    panic: bool


def measured(card: ModelCard, instruments: tuple[str, ...]) -> tuple[list[float], float]:
    """Lower bounds on coverage per level and on skill, for the worst of the instruments."""
    levels, skill = [2.0] * len(INTERVAL_LEVELS), math.inf
    for instrument in instruments or ("*",):
        by_name = {evidence.instrument: evidence for evidence in card.evidence}
        evidence = by_name.get(instrument) or by_name.get("*")
        bounds = [evidence.coverage[f"{level:.2f}"].lower if evidence else -1.0 for level in INTERVAL_LEVELS]
        levels = [min(pair) for pair in zip(levels, bounds, strict=True)]
        skill = min(skill, evidence.skill.lower if evidence else -1e9)
    return levels, skill


def answer_level(card: ModelCard, world: World) -> float | None:
    """The narrowest level that clears the requirement; 90 % if nothing is required."""
    if world.wanted.min_accuracy is None:
        return 0.9
    bounds = zip(INTERVAL_LEVELS, measured(card, world.wanted.instruments)[0], strict=True)
    return next((level for level, lower in bounds if lower >= world.wanted.min_accuracy), None)


def eligible(card: ModelCard, world: World) -> bool:
    """Whether the model meets every requirement."""
    wanted = world.wanted
    return (
        (card.name == wanted.model if wanted.model else card.status is ModelStatus.LIVE)
        and all(
            "*" in card.contract.instruments or i in card.contract.instruments for i in wanted.instruments
        )
        and wanted.horizon_ms in {None, card.contract.horizon_ms}
        and card.max_size.max_rows >= wanted.data_size.max_rows
        and answer_level(card, world) is not None
    )


def gate(hosts: set[str], beliefs: Beliefs) -> tuple[set[str], bool]:
    """Hosts that stay in the choice, and whether panic let some of them stay."""
    out = {host: why for host in hosts if (why := beliefs.out.get(host)) and beliefs.now < why[1]}
    failing = {host for host, (cause, _) in out.items() if cause == "errors"}
    unreachable = set(out) - failing
    back = failing if len(hosts) < 2 or len(out) > len(hosts) / 2 else set()
    if unreachable == hosts:
        back = back | unreachable
    return hosts - set(out) | back, bool(back)


def decide(world: World) -> Verdict:
    """Everything a decision in this world has to agree with."""
    beliefs = Beliefs(world)
    models = [card for card in world.cards if eligible(card, world)]
    pairs = [(c, name) for c in models for name, meta in world.replicas.items() if str(c.key) in meta.models]
    left, panic = gate({name for _, name in pairs}, beliefs)
    seen = [
        look(card, name, world, beliefs) for card, name in pairs if name in left and name not in world.exclude
    ]
    fits = [pair for pair in seen if pair.feasible]
    top = [pair for pair in fits if pair.score >= max(p.score for p in fits) - 1e-9]
    best = {(pair.model, pair.replica) for pair in top if pair.tie >= max(p.tie for p in top) - 1e-9}
    return Verdict([str(card.key) for card in models], seen, best, panic)


def look(card: ModelCard, name: str, world: World, beliefs: Beliefs) -> Pair:
    """Everything about one candidate."""
    model, size = str(card.key), bucket(world.wanted.rows)
    budget = (world.wanted.deadline_ns - world.now_ms * 1_000_000) / 1e6
    wait = max(1.0, (beliefs.calls(name) + 1) / beliefs.slots[name])
    expected = beliefs.service(name, model, size) * wait + beliefs.hop_ms()
    ratio, tail = beliefs.tails(name, model, size)
    ring = beliefs.ring(name, model, size)
    within = sum(r <= budget / (expected * tail) * ratio for r in ring)
    quick = 1 - expected / budget
    skill = (
        1 / (1 + math.exp(-measured(card, world.wanted.instruments)[1] / 0.1))
        if skilled(card, world)
        else 0.0
    )
    cheap = 1 / (1 + card.cost)
    score, tie = {
        "performance_optimized": (quick, skill),
        "accuracy_optimized": (skill, quick),
        "cost_optimized": (cheap, quick),
        "balanced": (0.4 * quick + 0.4 * skill + 0.2 * cheap, 0.0),
    }[world.wanted.profile]
    level = answer_level(card, world)
    assert level
    fits = expected * tail <= budget
    return Pair(model, name, expected, expected * tail, within / (len(ring) + 1), level, fits, score, tie)


def skilled(card: ModelCard, world: World) -> bool:
    """Whether skill was measured for each instrument."""
    return measured(card, world.wanted.instruments)[1] > -1e9
