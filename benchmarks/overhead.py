"""What the hub adds to a call: routed beside a bare handle, and its HTTP API beside plain FastAPI.

Handles: one process calls one real pool in turn with the routed client and with a bare handle, paced, so that
both meet the same replicas at the same load; nothing else is served there. HTTP: the whole hub with tokens,
limits and recorded decisions, beside a FastAPI deployment that calls the same pool of the same hub by a bare
handle; both answer through the same proxy, to the same callers, one after the other. No model is held in the
callers' own process here: that is what `local` is about.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from ray import serve

from benchmarks.callers.caller import CallerConfig, build_caller
from benchmarks.callers.cluster import serving
from benchmarks.callers.measured import Measured
from benchmarks.callers.plain_app import build_plain_app
from benchmarks.child import Child, child
from benchmarks.harness import Benchmark, Report, VoidRunError, middle, percentile
from deployments.front.tokens import mint
from deployments.pool.config import PoolConfig
from deployments.pool.deployment import build_pool
from deployments.router.config import RouterConfig
from deployments.router.names import pool_app
from models.principal import Tier
from models.task import CONTEXT_FEATURES, WINDOW
from serve_app.access import DAY_S, principal_of
from serve_app.hub import LocalHub
from serve_app.launch import local_settings, topics_ready
from serve_app.local_stack import LocalStack
from serve_app.settings import HubSettings, load_settings, read_text, resolved
from serve_app.wiring import APP

MODEL: Final = "naive"
ROUNDS: Final = 3
TURNS: Final = 6
RATE, PACED_S = 100.0, 4.0
CALLERS, BUSY_S = 16, 8.0
TRANSPORTS: Final = {"grpc": RouterConfig(pools=(), profiles="").by_reference_from_bytes, "actor": 0}
"""From how many bytes on a call goes by reference: the shipped bound (this one goes by gRPC), or always."""
_POOL: Final = "bench"
_WAYS: Final = ("bare", "routed")


def run(report: Report) -> None:
    """Handles in a cluster of their own, then the hub with the plain application beside it."""
    with serving(_callers(load_settings())) as handles:
        _by_handle(report, handles)
    with LocalStack(progress=_tell) as stack:
        settings = local_settings(stack, "tansu", local_model_ms=0.0)
        topics_ready(settings, create=True)
        hub = LocalHub(settings, dashboard=False, progress=lambda _: None)
        _tell("starting the hub")
        try:
            hub.start()
            pool = pool_app(settings.pools[0].name)
            serve.run(build_plain_app(pool, APP, model=f"{MODEL}@1"), name="plain", route_prefix="/plain")
            asyncio.run(_by_http(report, hub.url, settings, stack.run_dir))
        finally:
            hub.stop()


async def _by_http(report: Report, url: str, settings: HubSettings, scratch: Path) -> None:
    token, bodies = _token(settings), _bodies(scratch)
    targets = {"hub": f"{url}/api/v1/infer", "plain": f"{url}/plain/infer"}
    measured: dict[str, list[Measured]] = {name: [] for name in targets}
    async with child("benchmarks.callers.http_load", ()) as driver:

        async def post(name: str, seconds: float) -> Measured:
            return await _posted(driver, f"{targets[name]} {token} {seconds} {CALLERS} {bodies[name]}")

        await _until_answered(post)
        for _ in range(ROUNDS):
            for name in targets:
                _tell(f"HTTP: {CALLERS} callers of {name}")
                measured[name].append(await post(name, BUSY_S))
    _http_figures(report, measured)


async def _posted(driver: Child, command: str) -> Measured:
    return Measured.of(await driver.ask(f"run {command}"))


async def _until_answered(post: Callable[..., Any]) -> None:
    """Warm both up; the hub is ready when its catalogue and pools are."""
    for name in ("hub", "plain"):
        for _ in range(30):
            if not (await post(name, 2.0)).failed:
                break
        else:
            raise VoidRunError(f"{name} did not answer for a minute")


def _token(settings: HubSettings) -> str:
    principal = principal_of("benchmark", tenant="tenant-1", tier=Tier.SERVICE)
    tokens: Any = settings.tokens
    return mint(principal, tokens, now_s=int(time.time()), ttl_s=DAY_S)


def _bodies(scratch: Path) -> dict[str, Path]:
    window = np.random.default_rng(0).normal(0, 5e-5, (1, WINDOW)).round(8).tolist()
    tensors = {"window": window, "context": [[0.0] * len(CONTEXT_FEATURES)]}
    ask = {
        "task": "time_series_forecast",
        "model": MODEL,
        "max_latency_ms": 5000,
        "inputs": tensors,
    }
    files = {"hub": scratch / "ask.json", "plain": scratch / "plain.json"}
    for file, body in zip(files.values(), (ask, tensors), strict=True):
        file.write_bytes(orjson.dumps(body))
    return files


def _http_figures(report: Report, measured: dict[str, list[Measured]]) -> None:
    failed = sum(one.failed for rounds in measured.values() for one in rounds)
    if failed:
        raise VoidRunError(f"{failed} HTTP requests were not answered with 200")
    ours, peer = ([one.per_second for one in measured[name]] for name in ("hub", "plain"))
    report.add("http_per_second", middle(ours), f"requests a second, {CALLERS} callers, the hub's API")
    report.add("http_per_second_plain", middle(peer), "the same, plain FastAPI")
    report.add("http_p50_ms", middle(_latencies(measured["hub"])), "ms, the hub's API, median")
    report.add("http_p50_ms_plain", middle(_latencies(measured["plain"])), "ms, plain FastAPI, median")
    report.add(
        "http_aa_spread", max(peer) / min(peer) - 1, "share, plain FastAPI against itself, of all rounds"
    )
    report.add("http_throughput_ratio", middle(ours) / middle(peer), "x, ours over plain (aim >= 0.85)")


def _by_handle(report: Report, handles: Mapping[str, Any]) -> None:
    ratios = {}
    for transport in TRANSPORTS:
        _tell(f"handles by {transport}")
        caller = handles[f"caller-{transport}"]
        measured: dict[str, list[Measured]] = {way: [] for way in _WAYS}
        _paced(caller, "routed", seconds=3.0)
        for _ in range(TURNS):
            for way in _WAYS:
                measured[way].append(_paced(caller, way, seconds=PACED_S))
                report.validity.heard(measured[way][-1].lags_ms)
        ratios[transport] = _handle_figures(report, transport, measured)
    worst = max(ratios, key=lambda transport: ratios[transport])
    report.add("handle_p50_ratio", ratios[worst], f"x, the worse of both, {worst} (aim <= 1.10)")


def _callers(settings: HubSettings) -> dict[str, Any]:
    repository = str(resolved(settings.repository))
    pool = PoolConfig(name=_POOL, repository=repository, models=(MODEL,), replicas=2)
    callers = {
        f"caller-{transport}": CallerConfig(
            pool=_POOL,
            repository=repository,
            profiles=read_text(settings.profiles),
            by_reference_from=by_reference_from,
        )
        for transport, by_reference_from in TRANSPORTS.items()
    }
    return {
        pool_app(_POOL): build_pool(pool),
        **{name: build_caller(config, name) for name, config in callers.items()},
    }


def _paced(caller: Any, way: str, *, seconds: float) -> Measured:
    return Measured.of(caller.paced.remote(way, MODEL, rate=RATE, seconds=seconds).result(timeout_s=60))


def _handle_figures(report: Report, transport: str, measured: dict[str, list[Measured]]) -> float:
    if failed := sum(one.failed for rounds in measured.values() for one in rounds):
        raise VoidRunError(f"{failed} calls by {transport} were not answered")
    ours, peer = (_latencies(measured[way]) for way in ("routed", "bare"))
    medians = [middle(one.latencies_ms) for one in measured["bare"]]
    ratio = middle(ours) / middle(peer)
    report.add(f"handle_p50_ms_{transport}", middle(ours), f"ms, routed, {len(ours)} calls")
    report.add(f"handle_p50_ms_bare_{transport}", middle(peer), "ms, bare handle")
    report.add(f"handle_p99_ms_{transport}", percentile(ours, 99), "ms, routed, p99")
    report.add(f"handle_p99_ms_bare_{transport}", percentile(peer, 99), "ms, bare handle, p99")
    report.add(f"handle_aa_spread_{transport}", max(medians) / min(medians) - 1, "share, bare against itself")
    report.add(f"handle_p50_ratio_{transport}", ratio, "x, routed over bare")
    return ratio


def _latencies(rounds: Sequence[Measured]) -> list[float]:
    return [latency for one in rounds for latency in one.latencies_ms]


def _tell(line: str) -> None:
    print(f"  {line}", flush=True)


BENCHMARK: Final = Benchmark(
    name="overhead",
    question="What does routing add to a bare handle call, and the hub's HTTP API to plain FastAPI?",
    run=run,
)
