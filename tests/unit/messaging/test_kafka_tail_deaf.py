"""A tail whose consumer goes deaf (aiokafka #1154) reads on with another one within fifteen seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition

from messaging.config import KafkaConfig
from messaging.denials import Denials
from messaging.kafka import reader
from messaging.kafka.caller import Caller
from tests.support.virtual_loop import run_virtual

WITHIN_S = 15.0


class Consumer:
    """Stands for aiokafka's: one partition gets a record a second; of those named in `deaf`, none comes."""

    def __init__(self, deaf: frozenset[int]) -> None:
        self.deaf = deaf
        self.at: dict[TopicPartition, int] = {}
        self.held: set[TopicPartition] = set()

    def assign(self, places: list[TopicPartition]) -> None:
        self.at = dict.fromkeys(places, 0)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.at[place] = offset

    def pause(self, *places: TopicPartition) -> None:
        self.held.update(places)

    def resume(self, *places: TopicPartition) -> None:
        self.held.difference_update(places)

    async def position(self, place: TopicPartition) -> int:
        return self.at[place]

    async def end_offsets(self, places: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(places, int(asyncio.get_running_loop().time()))

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        await asyncio.sleep(timeout_ms / 1000)
        found = {}
        for place, end in (await self.end_offsets(list(self.at))).items():
            if place.partition not in self.deaf and place not in self.held and end > self.at[place]:
                found[place] = [_record(place, offset) for offset in range(self.at[place], end)]
                self.at[place] = end
        return found


def _record(place: TopicPartition, offset: int) -> Any:
    return ConsumerRecord(place.topic, place.partition, offset, 0, 0, b"k", b"v", 0, 1, 1, ())


async def _offsets(tail: reader.KafkaTail, *, partition: int, until_s: float) -> list[tuple[int, float]]:
    """Offset and time of each record of the partition."""
    loop, seen = asyncio.get_running_loop(), list[tuple[int, float]]()
    while loop.time() < until_s:
        for record in await tail.batch(max_wait_s=0.2):
            if record.partition == partition:
                seen.append((record.offset, loop.time()))
    return seen


def follow(
    monkeypatch: pytest.MonkeyPatch, deaf: list[frozenset[int]], *, hold: frozenset[int] = frozenset()
) -> tuple[list[tuple[int, float]], int]:
    """A minute of partition 1, read by consumers that are deaf as listed; and how many were replaced."""
    waiting = iter([*deaf, *[frozenset[int]()] * 9])

    async def opened(*_: object) -> Consumer:
        return Consumer(next(waiting))

    async def killed(_: object) -> None:
        return

    monkeypatch.setattr(reader, "opened", opened)
    monkeypatch.setattr(reader, "kill_consumer", killed)

    async def run() -> tuple[list[tuple[int, float]], int]:
        caller = Caller(KafkaConfig(bootstrap="h:1"), "c", Denials("kafka", None))
        tail = reader.KafkaTail(caller, "t", {0: 0, 1: 0})
        tail.hold(hold)
        seen = await _offsets(tail, partition=1, until_s=60.0)
        return seen, tail.replaced

    return run_virtual(run())


@pytest.mark.parametrize("deaf", [{0, 1}, {1}], ids=["in all", "in one, beside a busy one"])
def test_a_deaf_consumer_is_replaced_in_time(monkeypatch: pytest.MonkeyPatch, deaf: set[int]) -> None:
    """Nothing is skipped, and the first record comes within the bound after it landed."""
    seen, replaced = follow(monkeypatch, [frozenset(deaf)])

    assert replaced == 1
    assert [offset for offset, _ in seen] == list(range(60))
    assert seen[0][1] - 1.0 <= WITHIN_S


def test_a_consumer_that_hears_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that always has a record still to fetch when it is looked at."""
    seen, replaced = follow(monkeypatch, [])

    assert (len(seen), replaced) == (60, 0)


def test_a_held_partition_is_not_taken_for_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow service must not cost a consumer every few seconds."""
    seen, replaced = follow(monkeypatch, [], hold=frozenset({1}))

    assert (seen, replaced) == ([], 0)
