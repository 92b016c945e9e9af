"""A thousand sockets of the shipped stream: from Kafka's append to the frame, beside the least that does it.

Five processes: Apache Kafka, the stream on Ray Serve with direct ingress, the peer (`stream_peer.py`), the
clients, and this driver, which appends signals on a fixed schedule whatever becomes of the earlier ones. A
frame's time starts with the broker's own append time and stops when a client has decoded it; both clocks are
this machine's, and the first is cut to the millisecond below. Blocks of ours and of the peer take turns.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.child import Child, child
from benchmarks.harness import Benchmark, Report, VoidRunError, middle, percentile, spread
from benchmarks.stream_log import SignalLog, user_of
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.topics import create_topics
from serve_app.servers.apache_kafka import apache_kafka
from serve_app.servers.bundled import valkey

SOCKETS: Final = 1000
PER_S: Final = 200
BLOCK_S: Final = 10.0
TURNS: Final = ("peer", "hub", "peer", "hub", "peer", "hub", "peer")
BURSTS: Final = 5
SHAKEN_S: Final = 20.0
RECONNECTS_PER_S: Final = 20
_SETTLE_S: Final = 2.0
_BURST_EVERY_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Block:
    """What came of one block: milliseconds per frame, and how many frames were missing or came twice."""

    times_ms: list[float]
    lost: int
    doubled: int


class Driver:
    """Appends, has the clients collect, and compares."""

    def __init__(self, report: Report, log: SignalLog, clients: Child) -> None:
        self._report = report
        self._log = log
        self._clients = clients
        self._rng = Random(2)
        self._users = [user_of(number) for number in range(SOCKETS)]

    async def steady(self, seconds: float) -> Block:
        """`PER_S` signals a second, each for one user."""
        starts = await self._begin()
        begun, appends = time.monotonic(), []
        for number in range(int(seconds * PER_S)):
            await asyncio.sleep(max(0.0, begun + number / PER_S - time.monotonic()))
            appends.append(asyncio.create_task(self._log.write(self._rng.choice(self._users))))
        await asyncio.gather(*appends)
        return await self._collected(starts)

    async def bursts(self) -> Block:
        """One signal for every user at once, several times."""
        starts = await self._begin()
        for _ in range(BURSTS):
            await self._log.write_all(self._users)
            await asyncio.sleep(_BURST_EVERY_S)
        return await self._collected(starts)

    async def shaken(self) -> Block:
        """Steady, while clients hang up at random and connect again."""
        await self._clients.ask(f"shake {RECONNECTS_PER_S}")
        return await self.steady(SHAKEN_S)

    async def turn(self, which: str) -> Block:
        """A steady block on one of the servers."""
        await self._clients.ask(f"open {which}")
        block = await self.steady(BLOCK_S)
        await self._clients.ask("close")
        return block

    async def _begin(self) -> list[int]:
        await self._clients.ask("take")
        return await self._log.ends()

    async def _collected(self, starts: Sequence[int]) -> Block:
        await self._clients.ask("calm")
        await asyncio.sleep(_SETTLE_S)
        came: dict[str, Any] = await self._clients.ask("take")
        self._report.validity.heard(came["lags_ms"])
        appended_ms = await self._log.appended_ms(starts)
        seen = Counter((user, sequence) for user, sequence, _ in came["arrivals"])
        times = [at_ns / 1e6 - appended_ms[user, sequence] for user, sequence, at_ns in came["arrivals"]]
        return Block(times, lost=len(appended_ms.keys() - seen), doubled=seen.total() - len(seen))


def run(report: Report) -> None:
    """Start the servers, and measure."""
    with tempfile.TemporaryDirectory(prefix="central-hub-") as scratch:
        kafka, redis = apache_kafka(Path(scratch), progress=print), valkey(Path(scratch))
        secret = Path(scratch) / "token-secret"
        secret.write_text(secrets.token_hex(32))
        for server in (kafka, redis):
            server.start()
        try:
            for server in (kafka, redis):
                server.wait_ready()
            asyncio.run(_measure(report, kafka.address, f"redis://{redis.address}/0", str(secret)))
        finally:
            for server in (redis, kafka):
                server.stop()


async def _measure(report: Report, kafka: str, redis: str, secret: str) -> None:
    async with AsyncExitStack() as stack:
        bus = await open_bus(KafkaConfig(bootstrap=kafka), client_id="benchmark")
        stack.push_async_callback(bus.close)
        await create_topics(bus, 1)
        log = SignalLog(bus, await bus.producer("driver"))
        await log.claim()
        hub = await stack.enter_async_context(child("benchmarks.stream_server", [kafka, redis, secret]))
        peer = await stack.enter_async_context(child("benchmarks.stream_peer", [kafka]))
        addresses = [hub.ready["url"], peer.ready["url"]]
        clients = await stack.enter_async_context(
            child("benchmarks.stream_clients", [*addresses, secret, str(SOCKETS)])
        )
        driver = Driver(report, log, clients)
        watching = asyncio.create_task(report.validity.watch_loop())
        await _steady(report, driver)
        await clients.ask("open hub")
        _bursts(report, await driver.bursts())
        _reconnects(report, await driver.shaken())
        watching.cancel()


async def _steady(report: Report, driver: Driver) -> None:
    await driver.turn("hub")  # warms up
    blocks: dict[str, list[Block]] = {"hub": [], "peer": []}
    for which in TURNS:
        blocks[which].append(await driver.turn(which))
    if lost := sum(block.lost for block in blocks["hub"]):
        raise VoidRunError(f"{lost} frames of steady sockets never came")
    ours = [ms for block in blocks["hub"] for ms in block.times_ms]
    first, again = ([ms for block in blocks["peer"][half::2] for ms in block.times_ms] for half in (0, 1))
    report.add("p50_ms", middle(ours), f"ms from append to frame, {SOCKETS} sockets, {PER_S} a second")
    report.add("p99_ms", percentile(ours, 99), f"ms, the same at p99 of {len(ours)} frames")
    report.add("peer_p50_ms", middle([*first, *again]), "ms, a plain WebSocket server, no rules, no tokens")
    report.add("peer_p99_ms", percentile([*first, *again], 99), "ms, the same at p99")
    report.add("aa_spread", spread(first, again), "share, the plain server against itself, medians")
    report.add(
        "peer_ratio", middle([*first, *again]) / middle(ours), "x, the plain server over ours, medians"
    )


def _bursts(report: Report, block: Block) -> None:
    report.add("burst_p50_ms", middle(block.times_ms), f"ms, {SOCKETS} frames at once, {BURSTS} times")
    report.add("burst_p99_ms", percentile(block.times_ms, 99), "ms, the same at p99")
    report.add("burst_lost", block.lost, "frames of the bursts that never came")


def _reconnects(report: Report, block: Block) -> None:
    report.add("lost", block.lost, f"frames missing, {RECONNECTS_PER_S} reconnects a second meanwhile")
    report.add("doubled", block.doubled, "frames that came twice")
    report.add(
        "shaken_p99_ms", percentile(block.times_ms, 99), "ms, those that came while reconnecting included"
    )


BENCHMARK: Final = Benchmark(
    name="stream",
    question="How long from a signal in Kafka to the frame on one of 1,000 sockets, and is any lost?",
    run=run,
)
