"""A recording of a process: what it decides meanwhile can be replayed, and nobody waits for its reader."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from random import Random
from typing import Any

import pytest

from deployments.router import recorder as module
from deployments.router.recorder import Recorder
from models.errors import AlreadyRecording
from routing.catalogue import Catalogue
from routing.load import LoadTable, Outcome
from routing.recordings.recording import Decided, End, Header, decode
from routing.recordings.replay import Replay, difference
from tests.unit.routing.taped import CARDS, REPLICAS
from tests.unit.routing.worlds import PROFILES_YAML, START_MS, a_report, wants


class Process:
    """A recorder with its table, and calls that are decided, sent and answered at once."""

    def __init__(self) -> None:
        self.table = LoadTable()
        self.recorder = Recorder(PROFILES_YAML.read_text(), self.table, clock=lambda: self.now_ns)
        self.now_ns = START_MS * 1_000_000
        self._catalogue = Catalogue.of(CARDS, version=1)
        self._rng = Random(1)
        self._seq = 0
        for pool, replicas in REPLICAS.items():
            self.table.replicas_updated(pool, list(replicas.items()), now_ns=self.now_ns)

    def call(self, count: int = 1) -> None:
        for _ in range(count):
            self._seq += 1
            self.now_ns += 3_000_000
            decision = self.recorder.engine.decide(
                wants(self.now_ns // 1_000_000),
                self._catalogue,
                self.table.snapshot(self.now_ns),
                now_ns=self.now_ns,
                rng=self._rng,
            )
            flight = self.table.sent(decision, rows=1, now_ns=self.now_ns)
            self.table.finished(
                flight,
                outcome=Outcome.OK,
                elapsed_ms=4.0 + self._rng.random(),
                now_ns=self.now_ns + 1_000_000,
                report=a_report(decision.replica, seq=self._seq, service_ms=2.0 + self._rng.random()),
            )

    async def record(self, seconds: float) -> list[bytes]:
        chunks = [chunk async for chunk in self.recorder.record(seconds, gateway="g1")]
        return b"".join(chunks).splitlines(keepends=True)


async def test_a_recording_made_while_calls_go_on_replays_exactly() -> None:
    """It begins in the middle of things, and ends with a line that says why."""
    process = Process()
    process.call(30)
    recording = asyncio.create_task(process.record(0.3))
    while not recording.done():
        process.call(5)
        await asyncio.sleep(0)
    lines = recording.result()
    process.call(5)
    header, *_, end = decode(lines)

    assert isinstance(header, Header)
    assert header.gateway == "g1"
    assert end == End("0.3 s are over")
    again = list(Replay(lines).decisions())
    assert len(again) > 150
    assert [found for one in again if (found := difference(one))] == []


async def test_one_recording_at_a_time() -> None:
    """A second one is refused until the first is closed, however early that is."""
    process = Process()
    async with aclosing(process.recorder.record(60.0, gateway="g1")) as first:
        await anext(first)
        with pytest.raises(AlreadyRecording):
            await anext(process.recorder.record(60.0, gateway="g1"))
    process.call(3)

    assert not [line for line in decode(await process.record(0.01)) if isinstance(line, Decided)]


async def test_a_reader_that_is_too_slow_ends_its_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there until then is whole, and the calls did not wait."""
    monkeypatch.setattr(module, "QUEUE", 200)
    process = Process()
    async with aclosing(process.recorder.record(60.0, gateway="g1")) as chunks:
        lines = [await anext(chunks)]
        process.call(300)
        lines += [chunk async for chunk in chunks]
    *_, end = decode(b"".join(lines).splitlines(keepends=True))

    assert end == End("its reader was too slow")
    again = [difference(one) for one in Replay(b"".join(lines).splitlines(keepends=True)).decisions()]
    assert 20 < len(again) < 300
    assert set(again) == {None}


async def test_other_work_goes_on_while_lines_are_rendered() -> None:
    """Rendering pauses after every few entries."""
    process = Process()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with aclosing(process.recorder.record(60.0, gateway="g1")) as chunks:
        await anext(chunks)
        process.call(400)
        task: asyncio.Task[Any] = asyncio.create_task(other())
        await anext(chunks)
        task.cancel()

    assert turns > 100
