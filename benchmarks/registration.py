"""A model of 170 kB from its upload to its first routed answer, while callers go on asking; and what hostile
uploads cost those callers.

The hub is the whole of it, as `hub up` starts it on Apache Kafka, but for small models in the callers' own
processes: every request goes to a replica, which loads the new model while it answers. The callers are a
process of their own on a fixed schedule. The peer is Serve's own way to a new model: into the repository, and
a rolling redeploy of the application.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.child import Child, child
from benchmarks.harness import Benchmark, Report, VoidRunError, middle, percentile, spread
from benchmarks.registration_load import PER_S, REQUEST
from models.principal import Tier
from serve_app.access import local_token, principal_of
from serve_app.client import HubClient, Refused
from serve_app.hub import LocalHub
from serve_app.launch import address_of, local_settings, topics_ready
from serve_app.local_stack import LocalStack
from serve_app.model_upload import upload_of
from serve_app.settings import ROOT, HubSettings
from tests.support.hostile import endless
from tests.unit.inference.tiny import card_of

NAME: Final = "lightgbm"
ROUNDS: Final = 5
TURNS: Final = 20
TURN_S: Final = 9.0
_GIVE_UP_S: Final = 60.0
_LOOK_S: Final = 0.02
_WARM_UP_S: Final = 5.0
_BASE: Final = ROOT / "model_repository"


def run(report: Report) -> None:
    """Start the hub, register, upload what is hostile, redeploy."""
    with LocalStack(broker="kafka", progress=_tell) as stack:
        repository = stack.run_dir / "repository"
        shutil.copytree(_BASE, repository)
        settings = local_settings(stack, "kafka", repository=str(repository), local_model_ms=0.0)
        topics_ready(settings, create=True)
        hub = LocalHub(settings, dashboard=False, progress=_quiet)
        try:
            hub.start()
            asyncio.run(_measure(report, hub, settings, repository))
        finally:
            hub.stop()


async def _measure(report: Report, hub: LocalHub, settings: HubSettings, repository: Path) -> None:
    async with AsyncExitStack() as stack:
        client = stack.enter_context(HubClient(hub.url, _token(settings, hub)))
        load = await stack.enter_async_context(
            child("benchmarks.registration_load", [hub.url, _token(settings, hub)])
        )
        await asyncio.sleep(_WARM_UP_S)
        await load.ask("take")
        watching = asyncio.create_task(report.validity.watch_loop())
        failed = await _registrations(report, client, load)
        failed += await _hostile(report, client, load)
        watching.cancel()
        report.add("failed", sum(failed.values()), f"requests of {PER_S} a second that failed {dict(failed)}")
        await _redeployed(report, hub, client, repository)


async def _registrations(report: Report, client: HubClient, load: Child) -> Counter[str]:
    """New versions, one after the other."""
    uploads, answers = [], []
    for number in range(ROUNDS):
        body = _body(version=f"{100 + number}")
        begun = time.perf_counter()
        await asyncio.to_thread(client.call, "POST", "/api/v1/models", body=body)
        uploads.append(time.perf_counter() - begun)
        await asyncio.to_thread(_answered, client, f"{NAME}@{100 + number}")
        answers.append(time.perf_counter() - begun)
    took = await load.ask("take")
    report.add("first_answer_s", middle(answers), f"s, upload to first routed answer, {ROUNDS} times")
    report.add("worst_first_answer_s", max(answers), "s, the slowest of them")
    report.add("announced_s", middle(uploads), "s of it, until it is examined, signed, stored and announced")
    report.add("p99_ms", percentile(took["times_ms"], 99), "ms, callers' requests meanwhile, p99")
    return Counter(took["failed"])


async def _hostile(report: Report, client: HubClient, load: Child) -> Counter[str]:
    """Turns without and with uploads that are refused, and what the callers felt of it."""
    failed: Counter[str] = Counter()
    quiet: list[list[float]] = []
    hostile: list[list[float]] = []
    refused = 0
    for _ in range(TURNS):
        await asyncio.sleep(TURN_S)
        taken = await load.ask("take")
        quiet.append(taken["times_ms"])
        failed += Counter(taken["failed"])
        ends = time.monotonic() + TURN_S
        while time.monotonic() < ends:
            with suppress(Refused):
                await asyncio.to_thread(client.call, "POST", "/api/v1/models", body=_endless())
                raise VoidRunError("a hostile artefact was taken")
            refused += 1
        taken = await load.ask("take")
        hostile.append(taken["times_ms"])
        failed += Counter(taken["failed"])
    report.add("hostile_refused", refused, "hostile uploads, one after the other, all refused")
    for name, turns in (("quiet", quiet), ("hostile", hostile)):
        report.add(
            f"{name}_p50_ms",
            middle([one for turn in turns for one in turn]),
            f"ms, callers' requests, {TURNS} turns, p50",
        )
        report.add(f"{name}_p99_ms", _p99(turns), "ms, the same at p99")
    halves = [_p99(quiet[start::2]) for start in (0, 1)]
    report.add("aa_spread", spread(halves[:1], halves[1:]), "share, turns without against each other, p99")
    ratio = _p99(hostile) / _p99(quiet)
    report.add("hostile_p99_ratio", ratio, "x, callers' p99 beside hostile uploads over without")
    return failed


def _p99(turns: list[list[float]]) -> float:
    return percentile([one for turn in turns for one in turn], 99)


async def _redeployed(report: Report, hub: LocalHub, client: HubClient, repository: Path) -> None:
    """The peer."""
    shutil.copytree(repository / NAME / "1", repository / NAME / "2")
    card = repository / NAME / "2" / "card.yaml"
    card.write_text(yaml.safe_dump(yaml.safe_load(card.read_text()) | {"version": "2"}))
    begun = time.perf_counter()
    await asyncio.to_thread(hub.deploy)
    await asyncio.to_thread(_answered, client, f"{NAME}@2")
    took_s = time.perf_counter() - begun
    report.add("redeploy_first_answer_s", took_s, "s, the same by a rolling redeploy, Serve's own way")
    report.add("redeploy_ratio", took_s / report.figures["first_answer_s"], "x, by redeploy over ours")


def _answered(client: HubClient, model: str) -> None:
    """Ask until the model itself answers, and no smaller one that stands in for it."""
    give_up = time.monotonic() + _GIVE_UP_S
    while time.monotonic() < give_up:
        with suppress(Refused):
            lineage = client.call("POST", "/api/v1/infer", body=REQUEST | {"model": model})["lineage"]
            if f"{lineage['model']}@{lineage['version']}" == model:
                return
        time.sleep(_LOOK_S)
    raise VoidRunError(f"{model} did not answer within {_GIVE_UP_S:.0f} s")


def _body(version: str) -> dict[str, Any]:
    body = upload_of(_BASE / NAME / "1")
    return {**body, "card": body["card"] | {"version": version}}


def _endless() -> dict[str, Any]:
    """An upload that works for as long as it is let: a loop without an end."""
    model = endless(Path())
    return {"card": card_of(model), "artefact": base64.b64encode(model).decode()}


def _token(settings: HubSettings, hub: LocalHub) -> str:
    principal = principal_of("benchmark", tenant="tenant-1", tier=Tier.SERVICE, admin=True)
    return local_token(address_of(settings, hub, bundled=True), principal)


def _tell(line: str) -> None:
    print(f"  {line}", flush=True)


def _quiet(_: str) -> None:
    """The hub's own progress is of no interest here."""


BENCHMARK: Final = Benchmark(
    name="registration",
    question="How soon does a new model answer, what does that cost others, and what do hostile uploads?",
    run=run,
)
