"""`python -m serve_app.audit`: read a run while it happens, then settle the ledger.

Standard output carries JSON lines: a `live` summary every half second and one `ledger` at the end. A line on
standard input ends the run: the reader catches up, waits for what may still come, settles and leaves.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer

from models.strategy import Strategy, load_strategies
from serve_app.audit.dues import load_played, played_slots
from serve_app.audit.reading import PREDICTIONS, SIGNALS, caught_up, consumer, entry, user_partition
from serve_app.audit.tally import Tally, quantiles
from serve_app.audit.words import ledger_lines, signal_lines
from signals.ledger import Findings, PredictionLog, Settlement, SignalLog, SlotKey, SubscriptionLog

_SAY_EVERY_S = 0.5
_TAKE_OVER_S = 15.0
"""A slot whose owner died is recorded by whoever takes over, and who that is takes a while to settle."""


class Audit:
    """Everything read so far, and the ledger over it."""

    def __init__(self, due: Iterable[SlotKey], partitions: int) -> None:
        self.due = list(due)
        self.tally = Tally()
        self._findings = Findings()
        self.predictions = PredictionLog(self._findings)
        self.subscriptions = SubscriptionLog(self._findings)
        self._place = partial(user_partition, partitions=partitions)
        self.signals = SignalLog(self._place, self._findings)

    def take(self, record: Any) -> None:
        """Put one record of any of the three topics where it belongs."""
        if record.topic == SIGNALS:
            self._signal(record)
        elif record.topic == PREDICTIONS:
            if body := self.predictions.take(entry(record)):
                self.tally.prediction(body)
        else:
            self.subscriptions.take(entry(record))

    def _signal(self, record: Any) -> None:
        delivery = self.signals.take(entry(record), time.time_ns())
        if delivery is not None and delivery.acted_ns is not None:
            self.signals.effect(delivery, time.time_ns())
            self.tally.signal(delivery, record.value)

    def settled(self, end_ms: int) -> Findings:
        """The ledger as of now; may be asked again after more was read."""
        findings = deepcopy(self._findings)
        return Settlement(
            subscriptions=self.subscriptions,
            predictions=self.predictions,
            signals=self.signals,
            partition_of=self._place,
            findings=findings,
            end_ms=end_ms,
        ).settle(self.due)


async def run(arguments: argparse.Namespace, strategies: tuple[Strategy, ...]) -> int:
    """Read until told to end, then settle; 0 only if the ledger is clean."""
    due = played_slots(
        strategies, load_played(arguments.ticks), seconds=arguments.seconds, speed=arguments.speed
    )
    audit = Audit(due, arguments.partitions)
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    cluster = {"bootstrap_servers": arguments.kafka}
    async with consumer(cluster, fetch_max_wait_ms=arguments.fetch_max_wait_ms) as client:
        await _follow(client, audit, ended)
        wait_s = max(strategy.ttl_ms for strategy in strategies) / 1000 + _TAKE_OVER_S
        findings = await _settle(client, audit, wait_s)
    _say("ledger", _report(audit, findings))
    return 0 if findings.clean else 1


async def _follow(client: AIOKafkaConsumer, audit: Audit, ended: asyncio.Task[str]) -> None:
    said = 0.0
    while not ended.done():
        await _read(client, audit)
        if time.monotonic() - said > _SAY_EVERY_S:
            said = time.monotonic()
            _say("live", audit.tally.summary())


async def _settle(client: AIOKafkaConsumer, audit: Audit, wait_s: float) -> Findings:
    """Settle once nothing is missing, or when what is missing would have expired and been recorded."""
    deadline = time.monotonic() + wait_s
    while True:
        while not await caught_up(client):
            await _read(client, audit)
        findings = audit.settled(time.time_ns() // 1_000_000)
        if findings.lost == 0 or time.monotonic() > deadline:
            return findings
        await _read(client, audit)


async def _read(client: AIOKafkaConsumer, audit: Audit) -> None:
    for records in (await client.getmany(timeout_ms=200)).values():
        for record in records:
            audit.take(record)


def _report(audit: Audit, findings: Findings) -> dict[str, Any]:
    tally = audit.tally
    return {
        **tally.summary(),
        "decided_ns": tally.decided_ns,
        "unanswered": tally.unanswered,
        **asdict(findings),
        "clean": findings.clean,
        "slots_due": len(audit.due),
        "tick_to_read_ms": quantiles(tally.stages_ms["read"]) if tally.stages_ms["read"] else None,
        "lines": ledger_lines(findings),
        "example": signal_lines(tally.example) if tally.example else [],
    }


def _say(kind: str, content: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps({"kind": kind, **content}) + b"\n")
    sys.stdout.buffer.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serve_app.audit", description=__doc__)
    parser.add_argument("--kafka", required=True, help="bootstrap servers, host:port")
    parser.add_argument("--strategies", required=True, help="strategies.yaml that the hub runs with")
    parser.add_argument("--ticks", action="append", required=True, help="SYMBOL=FILE as played; repeatable")
    parser.add_argument("--seconds", type=float, required=True, help="wall seconds of playback")
    parser.add_argument("--speed", type=float, required=True, help="market time over wall time")
    parser.add_argument("--partitions", type=int, default=24, help="partitions of user.signals")
    parser.add_argument(
        "--fetch-max-wait-ms", type=int, default=20, help="how long the broker may hold a fetch"
    )
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    gc.disable()  # nothing here is cyclic, and a collection of so much would outlast signals
    sys.exit(asyncio.run(run(given, load_strategies(Path(given.strategies).read_text()))))
