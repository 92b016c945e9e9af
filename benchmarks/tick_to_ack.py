"""From a tick on NATS to 100 users' signals acknowledged by Apache Kafka, beside Kafka alone.

Ours is the whole hub as `hub up` starts it, on real ticks played at a speed that makes a slot due every
200 ms, whatever becomes of the earlier ones. A slot's clock starts when the clock message that closes its bar
is sent and stops when the last of its users' partitions is acknowledged; the hub measures it itself
(`tick_to_ack_ms` in the fan-out's status: the slots of the latest minute, so the warm-up does not count).
The peer (`kafka_only.py`) replays the bytes that the hub left in the log, on the same schedule and the same
broker, while the hub is up and has nothing to do: what remains of the time if all but Kafka cost nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import orjson
import yaml

from benchmarks.child import child
from benchmarks.harness import Benchmark, Report, VoidRunError, middle, percentile, spread
from benchmarks.kafka_only import PREDICTIONS, SIGNALS
from benchmarks.recorded import RecordedSlot, latest, recorded_slots, stage_medians_ms
from deployments.front.subscriptions import SubscriptionWriter
from messaging import topics
from messaging.connect import open_bus, open_feed
from models.principal import Tier
from models.strategy import Strategy, load_strategies
from models.subscription import Subscription
from models.task import WINDOW
from serve_app.demo.scene import EXAMPLE_TICKS
from serve_app.hub import LocalHub
from serve_app.launch import local_settings, topics_ready
from serve_app.local_stack import LocalStack
from serve_app.playback import Plan, Progress, history, play, seed_history
from serve_app.settings import HubSettings, load_settings, read_text
from serve_app.ticks import TickFile, load_ticks, tick_option

USERS: Final = 100
INTERVAL_S: Final = 0.2
WARM_UP_S: Final = 15.0
MEASURED_S: Final = 60.0
PEER_S: Final = 40.0
_STRATEGY: Final = "swift"
_REPLAYED: Final = 50
_SETTLE_S: Final = 1.0
_DAY_NS: Final = 86_400 * 10**9


def run(report: Report) -> None:
    """Start the hub, play, read back what it wrote, and replay that."""
    files, strategy = load_ticks([tick_option(EXAMPLE_TICKS[0])]), _strategy()
    plan = Plan.of(
        {symbol: file.span for symbol, file in files.items()},
        bar_sizes=[strategy.bar_ms],
        seconds=WARM_UP_S + MEASURED_S,
        speed=strategy.bar_ms / 1000 / INTERVAL_S,
    )
    with LocalStack(broker="kafka", progress=_tell) as stack:
        settings = _settings(stack, strategy)
        topics_ready(settings, create=True)
        asyncio.run(_seed(settings, files, plan, strategy))
        hub = LocalHub(settings, dashboard=False, progress=_once(_tell))
        try:
            hub.start()
            hub.wait_for_owners()
            asyncio.run(_play(report, settings, files, plan))
            _hub_figures(report, [status["tick_to_ack_ms"] for status in hub.owners("Fanout")])
            asyncio.run(_peer(report, settings, stack.run_dir))
        finally:
            hub.stop()


def _strategy() -> Strategy:
    """The strategy of `config/strategies.yaml` that acts on whatever answers first, on one symbol."""
    known = {one.name: one for one in load_strategies(read_text(load_settings().strategies))}
    symbol, _ = tick_option(EXAMPLE_TICKS[0])
    return known[_STRATEGY].model_copy(update={"symbols": (symbol,)})


def _settings(stack: LocalStack, strategy: Strategy) -> HubSettings:
    path = stack.run_dir / "strategies.yaml"
    path.write_text(yaml.safe_dump({"strategies": [strategy.model_dump(mode="json")]}))
    return local_settings(stack, "kafka", strategies=str(path))


async def _seed(settings: HubSettings, files: dict[str, TickFile], plan: Plan, strategy: Strategy) -> None:
    async with AsyncExitStack() as stack:
        bus = await open_bus(settings.kafka, client_id="benchmark")
        stack.push_async_callback(bus.close)
        feed = await open_feed(settings.nats, name="benchmark")
        stack.push_async_callback(feed.close)
        await seed_history(feed, history(files, plan), keep=WINDOW + 1)
        await SubscriptionWriter(bus).put_many(_subscription(number, strategy) for number in range(USERS))
        for name, like in ((PREDICTIONS, topics.PREDICTIONS), (SIGNALS, topics.SIGNALS)):
            await bus.create_topic(name, partitions=like.partitions, policy=like.policy, replication=1)


def _subscription(number: int, strategy: Strategy) -> Subscription:
    return Subscription(
        user_id=f"user-{number + 1:05d}",
        tenant_id="tenant-1",
        account_id="default",
        strategy=strategy.ref,
        symbol=strategy.symbols[0],
        tier=Tier.PRO,
        entitled_until_ns=time.time_ns() + _DAY_NS,
    )


async def _play(report: Report, settings: HubSettings, files: dict[str, TickFile], plan: Plan) -> None:
    _tell(f"playing ticks for {plan.seconds:.0f} s, of which the last {MEASURED_S:.0f} count")
    feed = await open_feed(settings.nats, name="benchmark-playback")
    watching = asyncio.create_task(report.validity.watch_loop())
    try:
        session = f"benchmark-{time.time_ns():x}"
        await play(feed, files, plan, session=session, clock=time.time_ns, progress=Progress())
        await asyncio.sleep(_SETTLE_S)
    finally:
        watching.cancel()
        await feed.close()


def _hub_figures(report: Report, measured: Sequence[dict[str, float]]) -> None:
    known = [one for one in measured if one]
    if not known:
        raise VoidRunError("no fan-out worker measured anything")
    for name in ("p50", "p99"):
        value = max(one[name] for one in known)
        report.add(f"{name}_ms_{USERS}", value, f"ms, tick to acknowledgement of all {USERS} users, {name}")


async def _peer(report: Report, settings: HubSettings, scratch: Path) -> None:
    async with AsyncExitStack() as stack:
        bus = await open_bus(settings.kafka, client_id="benchmark")
        stack.push_async_callback(bus.close)
        slots = latest(await recorded_slots(bus), MEASURED_S)
        _stages(report, slots)
        records = scratch / "records.json"
        records.write_bytes(orjson.dumps([slot.written() for slot in slots[-_REPLAYED:]], option=_ANY_KEY))
        arguments = [settings.kafka.bootstrap, str(records), str(INTERVAL_S)]
        peer = await stack.enter_async_context(child("benchmarks.kafka_only", arguments))
        await peer.ask("run 3")  # warms up
        _tell(f"replaying the records through Kafka alone, twice {PEER_S:.0f} s")
        first, again = [(await peer.ask(f"run {PEER_S}"))["times_ms"] for _ in range(2)]
    _ratios(report, first, again)


def _stages(report: Report, slots: Sequence[RecordedSlot]) -> None:
    predicted = [slot for slot in slots if slot.lineage]
    report.add("slots", len(slots), "slots in the measured time")
    report.add("answered_share", len(predicted) / len(slots), "share of them with a forecast")
    for stage, elapsed in stage_medians_ms(slot.times_ns for slot in predicted).items():
        report.add(f"stage_{stage}_p50_ms", elapsed, f"ms, tick to {stage}, median")
    report.add(
        "replica_p50_ms", middle([slot.replica_ms for slot in predicted]), "ms inside the replica, median"
    )


def _ratios(report: Report, first: Sequence[float], again: Sequence[float]) -> None:
    both = [*first, *again]
    p50, p99 = middle(both), percentile(both, 99)
    report.add(f"kafka_only_p50_ms_{USERS}", p50, f"ms, Kafka alone with the same records, {len(both)} slots")
    report.add(f"kafka_only_p99_ms_{USERS}", p99, "ms, the same at p99")
    report.add("aa_spread", spread(first, again), "share, Kafka alone against itself, medians")
    p99s = [[percentile(times, 99)] for times in (first, again)]
    report.add("aa_spread_p99", spread(*p99s), "share, the same at p99")
    report.add(f"p50_ratio_{USERS}", report.figures[f"p50_ms_{USERS}"] / p50, "x, ours over Kafka alone, p50")
    report.add(f"p99_ratio_{USERS}", report.figures[f"p99_ms_{USERS}"] / p99, "x, ours over Kafka alone, p99")


def _tell(line: str) -> None:
    print(f"  {line}", flush=True)


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Tell a line again only when it changed."""
    last = [""]

    def told(line: str) -> None:
        if line != last[0]:
            tell(line)
        last[0] = line

    return told


_ANY_KEY: Final = orjson.OPT_NON_STR_KEYS

BENCHMARK: Final = Benchmark(
    name="tick_to_ack",
    question="How long from a tick until 100 users' signals are in Kafka, beside Kafka alone?",
    run=run,
)
