"""The door on an event loop: sleeping, waking, being too late, being cancelled. Virtual time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from deployments.router.admission import AdmissionDoor
from models.errors import DeadlineExpired, Shed
from models.metrics import MemoryMeter
from models.request import Priority, Requirements
from models.task import DataSize
from routing.protection.admission import AdmissionConfig
from routing.protection.places import PlacesConfig, Usage
from tests.support.virtual_loop import later, run_virtual

CONFIG = AdmissionConfig(critical_share=0.0, max_waiting=8)
PLACES = PlacesConfig(smoothing=0.3)
CRITICAL, BULK = Priority.CRITICAL, Priority.BULK


def now_ns() -> int:
    """The clock of the running loop."""
    return round(asyncio.get_running_loop().time() * 1e9)


class House:
    """A door to replicas with so many slots, and a record of who answered when (ms)."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.meter = MemoryMeter()
        self.answered: dict[str, int] = {}
        self.refused: dict[str, Shed] = {}
        self.door = AdmissionDoor(
            CONFIG,
            usage=lambda _: Usage(self.slots, 0.0),
            clock=now_ns,
            meter=self.meter,
            places=PLACES,
        )

    async def ask(
        self, name: str, *, deadline_ms: int, takes_ms: int = 100, priority: Priority = BULK
    ) -> None:
        """One request from its arrival to its answer or refusal."""
        try:
            async with self.door.admitted(asked(deadline_ms, priority)):
                await later(takes_ms / 1e3)
                self.answered[name] = now_ns() // 1_000_000
        except Shed as refusal:
            self.refused[name] = refusal


def asked(deadline_ms: int, priority: Priority = BULK) -> Requirements:
    """A request of that class and deadline."""
    return Requirements(
        task="t", rows=1, data_size=DataSize.SMALL, deadline_ns=deadline_ms * 1_000_000, priority=priority
    )


def played(slots: int, scene: Callable[[House], Awaitable[None]]) -> House:
    """The house after a scene."""

    async def play() -> House:
        house = House(slots)
        await scene(house)
        return house

    return run_virtual(play())


def test_requests_wait_for_a_place_and_go_in_order() -> None:
    """One slot: critical overtakes, bulk goes by deadline, each starts when the last has ended."""

    async def scene(house: House) -> None:
        await asyncio.gather(
            house.ask("first", deadline_ms=1000),
            house.ask("late", deadline_ms=900),
            house.ask("early", deadline_ms=800),
            house.ask("critical", deadline_ms=950, priority=CRITICAL),
        )

    house = played(1, scene)
    assert house.answered == {"first": 100, "critical": 200, "early": 300, "late": 400}
    assert house.door.waiting == 0


def test_shed_before_the_deadline_is_lost_while_nothing_becomes_free() -> None:
    """A request that waits in vain is told as soon as an answer would be too late, not after it."""

    async def scene(house: House) -> None:
        await house.ask("teaches", deadline_ms=1000)
        hog = asyncio.create_task(house.ask("hog", deadline_ms=9000, takes_ms=5000))
        await asyncio.sleep(0)
        await house.ask("waits", deadline_ms=700)
        house.answered["told"] = now_ns() // 1_000_000
        await hog

    house = played(1, scene)
    assert house.answered["told"] == 600
    assert house.refused["waits"].details["reason"] == "too_late"
    assert house.meter.values["hub_shed_total", (("priority", "bulk"), ("reason", "too_late"))] == 1


def test_cancelled_while_waiting_leaves_the_queue() -> None:
    """Somebody who gave up takes no place later."""

    async def scene(house: House) -> None:
        hog = asyncio.create_task(house.ask("hog", deadline_ms=9000))
        gone = asyncio.create_task(house.ask("gone", deadline_ms=9000))
        await later(0.01)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await house.ask("next", deadline_ms=9000)
        await hog

    assert played(1, scene).answered == {"hog": 100, "next": 200}


def test_cancelled_in_the_moment_of_its_turn_gives_its_place_to_the_next() -> None:
    """Admission and cancellation in one turn of the loop lose no place."""

    async def scene(house: House) -> None:
        door = house.door
        async with door.admitted(asked(9000)):
            gone = asyncio.create_task(house.ask("gone", deadline_ms=9000))
            waits = asyncio.create_task(house.ask("waits", deadline_ms=9000))
            await later(0.01)
        gone.cancel()
        await asyncio.gather(gone, waits, return_exceptions=True)

    assert played(1, scene).answered == {"waits": 110}


@pytest.mark.parametrize(("error", "learned_ms"), [(KeyError, 0.0), (DeadlineExpired, 100.0)])
def test_what_goes_wrong_inside_frees_the_place(error: type[Exception], learned_ms: float) -> None:
    """Errors pass through; only what took the time of an answer teaches how long one takes."""

    async def scene(house: House) -> None:
        with pytest.raises(error):
            await failing(house.door)
        assert house.door._core._turnover.needed_ms(("t", "small")) == pytest.approx(learned_ms)
        await house.ask("next", deadline_ms=9000)

    async def failing(door: AdmissionDoor) -> None:
        async with door.admitted(asked(9000)):
            await later(0.1)
            raise error("x")

    assert played(1, scene).answered == {"next": 200}


def test_places_follow_the_slots_there_are() -> None:
    """When replicas come, more go at once, without anybody saying so."""

    async def scene(house: House) -> None:
        first = [asyncio.create_task(house.ask(f"{i}", deadline_ms=9000, takes_ms=300)) for i in range(3)]
        await later(0.1)
        house.slots = 9
        await house.ask("more", deadline_ms=9000, takes_ms=300)
        await asyncio.gather(*first)

    assert played(1, scene).answered == {"0": 300, "1": 400, "2": 400, "more": 600}


def test_nothing_waiting_costs_microseconds() -> None:
    """About 2.5 us for the whole stay; the bound is for slow and busy machines."""

    async def stay() -> float:
        door = AdmissionDoor(CONFIG, usage=lambda _: Usage(8, 0.0), clock=time.time_ns, meter=MemoryMeter())
        wanted = asked(time.time_ns() // 1_000_000 + 60_000)
        blocks_s = []
        for _ in range(20):
            begun = time.perf_counter()
            for _ in range(500):
                async with door.admitted(wanted):
                    pass
            blocks_s.append(time.perf_counter() - begun)
        return min(blocks_s) / 500

    assert asyncio.run(stay()) < 20e-6
