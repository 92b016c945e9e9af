"""One routing decision, from 16 to 160,000 candidates, beside LiteLLM's Router on as many deployments.

A decision is the whole of `Engine.decide`: filters, prediction, feasibility, scores, pick, promise, record.
Between any two the call is sent and answered, so that nothing about load can be reused. All models are in one
task. LiteLLM's is its pick function, which also reads its state: it is compared with our decision including
the snapshot of beliefs. Between any two picks its own callback takes the answer, as its latency routing
expects.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple, TypeVar

from benchmarks.harness import Benchmark, Report, middle, percentile, spread
from models.card import Bounded, Calibration, Evidence, ModelCard, ModelContract, ModelStatus, WarmProfile
from models.forecast import LoadReport
from models.request import Requirements
from models.task import CONTEXT_FEATURES, INTERVAL_LEVELS, TIME_SERIES_FORECAST, DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable, Outcome, ReplicaMeta
from routing.profiles import load_profiles

SIZES: Final = ((4, 4), (10, 4), (100, 16), (1000, 16), (10_000, 4), (10_000, 16))
"""Models and replicas; every replica holds every model."""
SMALLEST: Final = (4, 4)
LARGER: Final = (100, 16)
PEER_SIZES: Final = (16, 1600)
REPEATS: Final = 9
DECISIONS: Final = 500
PEER_DECISIONS: Final = {16: 150, 1600: 4}
_PROFILES: Final = Path(__file__).parents[1] / "config" / "profiles.yaml"
_DAY_NS: Final = 86_400_000_000_000

Value = TypeVar("Value")


Size = tuple[int, int]


class Peer(NamedTuple):
    """One of LiteLLM's routers."""

    strategy: str
    deployments: int


class Times(NamedTuple):
    """Microseconds of one request: the decision, with its snapshot of beliefs, with send and completion."""

    decide: float
    pick: float
    request: float


class Hub:
    """Our router with so many models of one task, each of them held by every replica."""

    def __init__(self, models: int, replicas: int) -> None:
        cards = [_card(number, models) for number in range(models)]
        meta = _meta(cards)
        self._engine = Engine(load_profiles(_PROFILES.read_text()))
        self._catalogue = Catalogue.of(cards, version=1)
        self._load = LoadTable()
        members = [(f"replica-{number}", meta) for number in range(replicas)]
        self._load.replicas_updated("pool", members, now_ns=time.time_ns())
        self._rng = Random(models)
        self._seq = 0
        self._wanted = Requirements(
            task=TIME_SERIES_FORECAST.name,
            rows=2,
            data_size=DataSize.SMALL,
            deadline_ns=time.time_ns() + _DAY_NS,
            min_accuracy=0.9,
            instruments=("EURUSD",),
            profile="balanced",
        )

    def request_us(self) -> Times:
        """Route one request: beliefs, decision, send, completion."""
        begun = time.perf_counter_ns()
        now_ns = time.time_ns()
        beliefs = self._load.snapshot(now_ns)
        known = time.perf_counter_ns()
        decision = self._engine.decide(self._wanted, self._catalogue, beliefs, now_ns=now_ns, rng=self._rng)
        decided = time.perf_counter_ns()
        flight = self._load.sent(decision, rows=2, now_ns=now_ns)
        self._load.finished(
            flight, outcome=Outcome.OK, elapsed_ms=5.0, now_ns=now_ns, report=self._report(decision.replica)
        )
        finished = time.perf_counter_ns()
        return Times((decided - known) / 1e3, (decided - begun) / 1e3, (finished - begun) / 1e3)

    def _report(self, replica: str) -> LoadReport:
        self._seq += 1
        return LoadReport(replica, "boot", self._seq, 0, 1, 2, self._rng.uniform(1.0, 3.0), 0.0, 2)


class LiteLlm:
    """LiteLLM's Router with as many deployments of one model group."""

    def __init__(self, strategy: str, deployments: int) -> None:
        litellm: Any = importlib.import_module("litellm")  # takes seconds: only when it is asked for
        self._router = litellm.Router(
            model_list=[_deployment(number) for number in range(deployments)], routing_strategy=strategy
        )
        self._learns = strategy == "latency-based-routing"
        self._rng = Random(deployments)
        for number in range(deployments):
            self._answered(f"deployment-{number}")

    def pick_us(self) -> float:
        """Time of one pick; its answer is reported afterwards."""
        begun = time.perf_counter_ns()
        picked = self._router.get_available_deployment("forecast", messages=[], request_kwargs={})
        ended = time.perf_counter_ns()
        self._answered(picked["model_info"]["id"])
        return (ended - begun) / 1e3

    def _answered(self, deployment: str) -> None:
        """What LiteLLM does when a call succeeded, by the callback that it registers for that."""
        if not self._learns:
            return
        ended = datetime.now(UTC)
        begun = ended - timedelta(milliseconds=self._rng.uniform(1.0, 3.0))
        call = {"litellm_params": {"metadata": {"model_group": "forecast"}, "model_info": {"id": deployment}}}
        self._router.lowestlatency_logger.log_success_event(call, None, begun, ended)


def run(report: Report) -> None:
    """Interleave all series in short blocks, so that whatever disturbs the machine disturbs them alike."""
    hubs = {size: Hub(*size) for size in SIZES}
    peers = _peers(report)
    ours: dict[Size, list[list[Times]]] = {size: [] for size in SIZES}
    theirs: dict[Peer, list[float]] = {name: [] for name in peers}
    gc.freeze()  # the catalogues are many objects, and a collection of them is no part of a decision
    for repeat in range(REPEATS + 1):
        for size, hub in hubs.items():
            block = _block(report, hub.request_us, DECISIONS)
            ours[size] += [block] if repeat else []  # the first repeat warms up
        for name, peer in peers.items():
            picks = _block(report, peer.pick_us, PEER_DECISIONS[name.deployments])
            theirs[name] += [middle(picks)] if repeat else []
    _ours(report, ours)
    for deployments, size in zip(PEER_SIZES, (SMALLEST, LARGER), strict=True):
        if theirs:
            _ratios(report, theirs, deployments, pick=_middle(ours[size], "pick"))


def _block(report: Report, measure: Callable[[], Value], times: int) -> list[Value]:
    report.validity.pause()
    return [measure() for _ in range(times)]


def _middle(blocks: list[list[Times]], part: str) -> float:
    return middle([middle([getattr(times, part) for times in block]) for block in blocks])


def _ours(report: Report, series: dict[Size, list[list[Times]]]) -> None:
    for (models, replicas), blocks in series.items():
        name, decide = f"{models}x{replicas}", _middle(blocks, "decide")
        p99 = middle([percentile([times.decide for times in block], 99) for block in blocks])
        request = _middle(blocks, "request")
        report.add(f"p50_us_{name}", decide, f"us, one decision among {models * replicas:,} candidates")
        report.add(f"p99_us_{name}", p99, "us, the same at p99")
        report.add(f"request_us_{name}", request, "us, with the beliefs, send and completion folded in")
    figures = report.figures
    report.add(
        "p50_us_16", figures["p50_us_4x4"], "us, one decision among 16 candidates (4 models x 4 replicas)"
    )
    growth = figures["p50_us_10000x4"] / figures["p50_us_10x4"]
    report.add("growth_10_to_10000", growth, "x for a thousand times the models, on 4 replicas")


def _ratios(report: Report, theirs: dict[Peer, list[float]], deployments: int, *, pick: float) -> None:
    latency, again, shuffle = (
        theirs[Peer(strategy, deployments)] for strategy in ("latency", "latency again", "shuffle")
    )
    aa = spread(latency, again)
    n = deployments
    report.add(f"pick_us_{n}", pick, "us, our decision with the snapshot of beliefs")
    report.add(f"litellm_p50_us_{n}", middle(latency), f"us, LiteLLM latency-based-routing, {n} deployments")
    report.add(
        f"litellm_shuffle_p50_us_{n}", middle(shuffle), "us, LiteLLM simple-shuffle (blind to latency)"
    )
    report.add(f"aa_spread_{n}", aa, "share, LiteLLM latency-based against itself")
    ratio, blind = middle(latency) / pick, middle(shuffle) / pick
    report.add(f"litellm_ratio_{n}", ratio, _claim("latency-based", ratio, aa))
    report.add(f"litellm_shuffle_ratio_{n}", blind, _claim("simple-shuffle", blind, aa))


def _claim(peer: str, ratio: float, aa: float) -> str:
    within = 1.0 / (1.0 + aa) <= ratio <= 1.0 + aa
    return f"x, LiteLLM {peer} over ours" + (": no difference, it is within the spread" if within else "")


def _peers(report: Report) -> dict[Peer, LiteLlm]:
    if importlib.util.find_spec("litellm") is None:
        report.missing("litellm", "Install it with `make env-dev`; its figures and ratios are absent.")
        return {}
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no price list from the network
    strategies = {
        "latency": "latency-based-routing",
        "latency again": "latency-based-routing",
        "shuffle": "simple-shuffle",
    }
    return {
        Peer(name, deployments): LiteLlm(strategy, deployments)
        for deployments in PEER_SIZES
        for name, strategy in strategies.items()
    }


def _deployment(number: int) -> dict[str, Any]:
    return {
        "model_name": "forecast",
        "litellm_params": {
            "model": f"openai/model-{number}",
            "api_key": "none",
            "api_base": "http://127.0.0.1",
        },
        "model_info": {"id": f"deployment-{number}"},
    }


def _meta(cards: list[ModelCard]) -> ReplicaMeta:
    return ReplicaMeta("pool", "cpu", 2, {str(card.key): list(card.warm) for card in cards})


def _card(number: int, models: int) -> ModelCard:
    """A live model; one more in number is a little slower, dearer and more skilful."""
    more = number / models
    warm_ms = 1.0 + 5.0 * more
    return ModelCard(
        name=f"model-{number}",
        version="1",
        task=TIME_SERIES_FORECAST.name,
        family="benchmark",
        description="made for a benchmark",
        status=ModelStatus.LIVE,
        sha256="0" * 64,
        contract=ModelContract(
            bar_ms=10_000, horizon_ms=60_000, window_tail=64, context=CONTEXT_FEATURES, instruments=("*",)
        ),
        cost=1.0 + 5.0 * more,
        warm=tuple(WarmProfile(rows=rows, p50_ms=warm_ms, p99_ms=2 * warm_ms, n=100) for rows in (1, 4096)),
        calibration=Calibration(version="1", n=1000, multipliers={}),
        evidence=(_evidence(0.02 + 0.05 * more),),
    )


def _evidence(skill: float) -> Evidence:
    measured = Bounded(value=skill, lower=skill - 0.01, upper=skill + 0.01, n=1000)
    return Evidence(
        instrument="*",
        period_from="2024-01-01",
        period_to="2024-02-01",
        n=1000,
        coverage={
            f"{level:.2f}": Bounded(value=level, lower=level - 0.01, upper=level + 0.005, n=1000)
            for level in INTERVAL_LEVELS
        },
        interval_score=measured,
        skill=measured,
        pinball_skill=measured,
        direction_accuracy=measured,
    )


BENCHMARK: Final = Benchmark(
    name="decision",
    question="How long does one decision take among 16 to 160,000 candidates, and beside LiteLLM's Router?",
    run=run,
)
