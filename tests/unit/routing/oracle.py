"""The choice once more, by brute force and from the written rules: plain loops over every pair, nothing kept.

Shares no code with the engine. What is believed of replicas and models it reads from the same snapshot; that
beliefs are right is tested elsewhere.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from models.card import ModelCard, ModelStatus
from models.task import INTERVAL_LEVELS
from routing.load import LoadSnapshot
from tests.unit.routing.worlds import World

SIZES = (8, 256, 4096)


def size_class(rows: int) -> int:
    """Number of the smallest size that holds the rows."""
    return next((number for number, size in enumerate(SIZES) if rows <= size), 2)


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
    doubtful: bool
    score: float
    tie: float


@dataclass(frozen=True)
class Verdict:
    """Models that match, pairs on offer, those the choice may fall on, and whether the gate gave way. If none
    is believed to fit, the one of `doubted` is asked all the same.
    """

    models: list[str]
    pairs: list[Pair]
    best: set[tuple[str, str]]
    panic: bool
    doubted: set[tuple[str, str]]


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


def gate(hosts: set[str], load: LoadSnapshot, now_ns: int) -> tuple[set[str], bool]:
    """Hosts that stay in the choice, and whether panic let some of them stay."""
    ejected = {load.placement.replicas[number]: ejection for number, ejection in load.ejections.items()}
    out = {host: why for host in hosts if (why := ejected.get(host)) and now_ns < why.until_ns}
    failing = {host for host, why in out.items() if why.cause == "errors"}
    unreachable = set(out) - failing
    back = failing if len(hosts) < 2 or len(out) > len(hosts) / 2 else set()
    if unreachable == hosts:
        back = back | unreachable
    return hosts - set(out) | back, bool(back)


def decide(world: World, load: LoadSnapshot) -> Verdict:
    """Everything a decision in this world, on these beliefs, has to agree with."""
    models = [card for card in world.cards if eligible(card, world)]
    pairs = [(c, name) for c in models for name, meta in world.replicas.items() if str(c.key) in meta.models]
    left, panic = gate({name for _, name in pairs}, load, world.now_ns)
    seen = [
        look(card, name, world, load) for card, name in pairs if name in left and name not in world.exclude
    ]
    fits = [pair for pair in seen if pair.feasible]
    if world.wanted.profile == "tightest_fit":
        fits = tightest(fits, world)
    top = [pair for pair in fits if pair.score >= max(p.score for p in fits) - 1e-9]
    best = {(pair.model, pair.replica) for pair in top if pair.tie >= max(p.tie for p in top) - 1e-9}
    return Verdict([str(card.key) for card in models], seen, best, panic, set() if fits else doubted(seen))


def doubted(seen: list[Pair]) -> set[tuple[str, str]]:
    """The soonest of those that may be asked all the same."""
    asked = [pair for pair in seen if pair.doubtful]
    soonest = min((pair.expected_ms for pair in asked), default=0.0)
    return {(pair.model, pair.replica) for pair in asked if pair.expected_ms <= soonest * (1 + 1e-12)}


def tightest(fits: list[Pair], world: World) -> list[Pair]:
    """Those of the largest quantile that leaves a tenth of the deadline; of the smallest if none does."""
    budget = (world.wanted.deadline_ns - world.now_ns) / 1e6
    roomy = [pair.quantile_ms for pair in fits if pair.quantile_ms <= 0.9 * budget]
    wanted = max(roomy) if roomy else min((pair.quantile_ms for pair in fits), default=0.0)
    return [pair for pair in fits if abs(pair.quantile_ms - wanted) <= 1e-9]


def look(card: ModelCard, name: str, world: World, load: LoadSnapshot) -> Pair:
    """Everything about one candidate."""
    model, size = str(card.key), size_class(world.wanted.rows)
    budget = (world.wanted.deadline_ns - world.now_ms * 1_000_000) / 1e6
    meta, number = world.replicas[name], load.placement.index[name]
    group = load.placement.group_index[meta.pool, meta.hardware, model]
    standing, service, hop = load.standings[number], load.service_ms[size][group], load.hop_ms[meta.pool]
    expected = float(service * standing.slowdown + hop)
    tail = float(load.tail[size][standing.depth][group])
    spread = load.spread((group, size, standing.depth))
    within = bisect_right(spread.ordered, budget / (expected * tail) * spread.tail)
    quick = float(1 - (service * standing.rank + hop) / budget)
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
        "tightest_fit": (skill, 0.0),
    }[world.wanted.profile]
    level = answer_level(card, world)
    assert level
    fits = expected * tail <= budget
    warm, queue = load.unlearned, max(1.0, (standing.calls + 1) / meta.slots)
    unlearned = warm.service_ms[size][group] * queue + warm.hop_ms[meta.pool]
    doubtful = standing.doubtful and unlearned * warm.tail[size][standing.depth][group] <= budget
    return Pair(
        model,
        name,
        expected,
        expected * tail,
        load.kept(meta.pool, within / (len(spread.ordered) + 1)),
        level,
        fits,
        bool(doubtful),
        score,
        tie,
    )


def skilled(card: ModelCard, world: World) -> bool:
    """Whether skill was measured for each instrument."""
    return measured(card, world.wanted.instruments)[1] > -1e9
