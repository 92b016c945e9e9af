"""A small model in the caller's process beside the same behind a hop, and what that does to a heavy one.

Two callers of one real pool route with the shipped engine, client and configuration; one of them also holds
the small models itself, so its engine chooses between here and there. The peer is the other, for which every
call is remote. `throughput_ratio` is against a peer whose calls each take a way of their own, as those of any
Serve application do; what calls that travel together make of that stands beside it. The heavy model is called
while small calls come beside it: their runs must not hold up the process that waits for the heavy one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.callers.caller import CallerConfig, build_caller
from benchmarks.callers.cluster import serving
from benchmarks.callers.measured import Measured
from benchmarks.harness import Benchmark, Report, VoidRunError, middle, percentile, spread
from deployments.pool.config import PoolConfig
from deployments.pool.deployment import build_pool
from deployments.router.config import LocalConfig, RouterConfig
from deployments.router.names import pool_app
from serve_app.settings import HubSettings, load_settings, read_text, resolved

HEAVY: Final = "gru-reservoir"
SMALL: Final = "naive"
ROUNDS: Final = 2
RATE, PACED_S = 100.0, 8.0
CALLERS, BUSY_S = 32, 5.0
HEAVY_RATE, HEAVY_S = 40.0, 20.0
_POOL: Final = "bench"
_LOCAL, _REMOTE, _SINGLE = "local", "remote", "single"

Series = dict[str, list[Measured]]
"""What each caller measured, round by round."""


def run(report: Report) -> None:
    """Take turns, so that whatever else happens on the machine happens to both."""
    settings = load_settings()
    with serving(_applications(settings)) as handles:
        callers = {name: handles[name] for name in (_REMOTE, _LOCAL, _SINGLE)}
        for caller in callers.values():
            _ask(caller.busy, "routed", SMALL, callers=4, seconds=3.0)  # warms up
        paced, busy, heavy = _rounds(callers)
    for measured in (*_all(paced), *_all(heavy)):
        report.validity.heard(measured.lags_ms)
    _check(paced, busy, heavy)
    _latencies(report, paced)
    _throughputs(report, busy)
    _heavy(report, heavy)


def _applications(settings: HubSettings) -> dict[str, Any]:
    repository, profiles = str(resolved(settings.repository)), read_text(settings.profiles)
    by_reference_from = RouterConfig(pools=(), profiles="").by_reference_from_bytes
    remote = CallerConfig(
        pool=_POOL, repository=repository, profiles=profiles, by_reference_from=by_reference_from
    )
    local = LocalConfig(repository=repository, max_ms=settings.local_model_ms)
    configs = {
        _REMOTE: remote,
        _LOCAL: remote.model_copy(update={"local": local}),
        _SINGLE: remote.model_copy(update={"together": False}),
    }
    pool = PoolConfig(name=_POOL, repository=repository, replicas=2)
    callers = {name: build_caller(config, name) for name, config in configs.items()}
    return {pool_app(_POOL): build_pool(pool), **callers}


def _rounds(callers: dict[str, Any]) -> tuple[Series, Series, Series]:
    paced: Series = {_REMOTE: [], _LOCAL: []}
    busy: Series = {name: [] for name in callers}
    heavy: Series = {_REMOTE: [], _LOCAL: []}
    for _ in range(ROUNDS):
        for name in paced:
            paced[name].append(_ask(callers[name].paced, "routed", None, rate=RATE, seconds=PACED_S))
            mixed = {"rate": HEAVY_RATE, "others": SMALL, "others_rate": RATE, "seconds": HEAVY_S}
            heavy[name].append(_ask(callers[name].mixed, HEAVY, **mixed))
        for name in busy:
            busy[name].append(_ask(callers[name].busy, "routed", None, callers=CALLERS, seconds=BUSY_S))
    return paced, busy, heavy


def _ask(method: Any, *arguments: Any, **named: Any) -> Measured:
    return Measured.of(method.remote(*arguments, **named).result(timeout_s=120))


def _all(series: Series) -> list[Measured]:
    return [measured for rounds in series.values() for measured in rounds]


def _check(*series: Series) -> None:
    """Every figure is about calls that were answered."""
    failed = sum(measured.failed for one in series for measured in _all(one))
    answered = sum(len(measured.latencies_ms) for one in series for measured in _all(one))
    if failed > answered / 1000:
        raise VoidRunError(f"{failed} of {failed + answered} calls were not answered")


def _latencies(report: Report, paced: Series) -> None:
    ours, peers = _latencies_of(paced[_LOCAL]), _latencies_of(paced[_REMOTE])
    first, again = (measured.latencies_ms for measured in paced[_REMOTE])
    share = sum(measured.local for measured in paced[_LOCAL]) / len(ours)
    report.add("p50_ms_chosen", middle(ours), f"ms, small model, chosen among both, {len(ours)} calls")
    report.add("p99_ms_chosen", percentile(ours, 99), "ms, the same at p99")
    report.add("local_share", share, "share of them that ran in the caller's process")
    report.add("p50_ms_remote", middle(peers), "ms, small model, always remote")
    report.add("p99_ms_remote", percentile(peers, 99), "ms, the same at p99")
    report.add("aa_spread", spread(first, again), "share, always remote against itself, medians")
    report.add("p50_ratio", middle(ours) / middle(peers), "x, chosen over always remote, p50 (aim <= 0.1)")


def _throughputs(report: Report, busy: Series) -> None:
    rates = {name: [measured.per_second for measured in rounds] for name, rounds in busy.items()}
    ours = middle(rates[_LOCAL])
    report.add("per_second_chosen", ours, f"answers a second, {CALLERS} callers without pause")
    report.add("per_second_single", middle(rates[_SINGLE]), "the same, always remote, one way per call")
    report.add("per_second_remote", middle(rates[_REMOTE]), "the same, always remote, due together as one")
    alone, again = ([rate] for rate in rates[_SINGLE])
    report.add("aa_spread_throughput", spread(alone, again), "share, one way per call against itself")
    report.add("throughput_ratio", ours / middle(rates[_SINGLE]), "x, over one way per call (aim >= 10)")
    report.add("throughput_ratio_together", ours / middle(rates[_REMOTE]), "x, over calls that go together")


def _heavy(report: Report, heavy: Series) -> None:
    ours, peers = _latencies_of(heavy[_LOCAL]), _latencies_of(heavy[_REMOTE])
    halves = ([percentile(measured.latencies_ms, 99)] for measured in heavy[_REMOTE])
    report.add("heavy_p50_ms_chosen", middle(ours), f"ms, heavy model beside small calls, {len(ours)} calls")
    report.add("heavy_p50_ms_remote", middle(peers), "ms, the same, always remote")
    report.add("heavy_p99_ms_chosen", percentile(ours, 99), "ms, heavy model beside small calls, p99")
    report.add("heavy_p99_ms_remote", percentile(peers, 99), "ms, the same, always remote")
    report.add("heavy_aa_spread", spread(*halves), "share, always remote against itself, p99")
    ratio = percentile(ours, 99) / percentile(peers, 99)
    report.add("heavy_p99_ratio", ratio, "x, chosen over always remote, p99 (aim <= 1.05)")


def _latencies_of(rounds: Sequence[Measured]) -> list[float]:
    return [latency for measured in rounds for latency in measured.latencies_ms]


BENCHMARK: Final = Benchmark(
    name="local",
    question="What does a small model in the caller's process save, and what does it cost a heavy one?",
    run=run,
)
