"""The publisher on the memory bus and virtual time: an outcome by the deadline, whatever the broker does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

import pytest

from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.publisher import LaneHealth, Place, Publisher, PublisherConfig, QueueLimits
from models.errors import AppendNotSent, AppendRefused, AppendUnknown, MessagingError, QueueFull
from models.metrics import MemoryMeter
from models.request import Priority
from tests.support.virtual_loop import later, run_virtual

T = TypeVar("T")
TOPIC = "t"
HERE = Place(TOPIC, 0)
ELSEWHERE = Place(TOPIC, 1)
NOW_NS = 1_795_000_000_000_000_000


class Stage:
    """A broker, a publisher, and the time of the loop."""

    def __init__(self, log: MemoryLog, bus: MemoryBus, publisher: Publisher) -> None:
        self.log = log
        self.bus = bus
        self.publisher = publisher

    async def publish(
        self, value: str, *, tenant: str = "acme", timeout_s: float = 2.0, place: Place = HERE
    ) -> int:
        record = Record(value.encode(), b"")
        return await self.publisher.publish(tenant, place, record, timeout_s=timeout_s)

    def start(self, value: str, *, tenant: str = "acme", timeout_s: float = 2.0) -> asyncio.Task[int]:
        return asyncio.create_task(self.publish(value, tenant=tenant, timeout_s=timeout_s))

    def keys(self, partition: int = 0) -> list[str]:
        return [record.key.decode() for record in self.log.partition(TOPIC, partition).records]

    def health(self) -> LaneHealth:
        return self.publisher.health()[Priority.BULK]


def play(story: Callable[[Stage], Awaitable[T]], *, seed: int = 1, limits: QueueLimits | None = None) -> T:
    """Run a story on a fresh broker whose answers take 5 to 20 ms."""

    async def main() -> T:
        log = MemoryLog(Random(seed), clock=lambda: NOW_NS)
        log.faults.delay_s = (0.0025, 0.01)
        bus = MemoryBus(log, "hub")
        await bus.create_topic(TOPIC, partitions=4, policy={}, replication=1)
        config = PublisherConfig(limits=limits or QueueLimits())
        publisher = await Publisher.open(bus, name="hub", meter=MemoryMeter(), config=config)
        try:
            return await story(Stage(log, bus, publisher))
        finally:
            await publisher.close()

    return run_virtual(main())


def now() -> float:
    """The virtual time."""
    return asyncio.get_running_loop().time()


def test_what_waits_goes_together_and_in_order() -> None:
    """Offsets follow the calls; a hundred calls need three batches, not a hundred."""

    async def story(stage: Stage) -> tuple[list[int], list[str], float]:
        offsets = await asyncio.gather(*(stage.publish(f"{n:03}") for n in range(100)))
        return list(offsets), stage.keys(), now()

    offsets, keys, took_s = play(story)
    assert offsets == list(range(100))
    assert keys == sorted(keys)
    assert took_s < 0.1


def test_what_comes_while_another_place_is_in_flight_goes_together() -> None:
    """A batch is built when it can leave, so five records that come one after the other are one batch."""

    async def story(stage: Stage) -> set[float]:
        stage.log.faults.delay_s = (0.002, 0.002)
        first = stage.start("first")

        async def after(wait_s: float) -> float:
            await later(wait_s)
            await stage.publish(f"{wait_s}", place=ELSEWHERE)
            return now()

        times = await asyncio.gather(*(after(0.0007 * number) for number in range(1, 6)))
        await first
        return set(times)

    assert len(play(story)) == 1


def test_a_slow_broker_holds_up_its_own_partitions_only() -> None:
    """Its answer is out for a second; what goes elsewhere waits for a few milliseconds."""

    async def story(stage: Stage) -> tuple[float, bool]:
        stage.log.faults.delay_s = (0.5, 0.5)
        slow = stage.start("slow")
        await later(0.1)
        stage.log.faults.delay_s = (0.001, 0.001)
        asked_s = now()
        await stage.publish("quick", place=ELSEWHERE)
        return now() - asked_s, slow.done()

    took_s, slow_done = play(story)
    assert took_s < 0.01
    assert not slow_done


def test_closing_sends_what_waits_behind_others() -> None:
    """Also what was given no batch yet, because another one is out."""

    async def story(stage: Stage) -> tuple[list[str], list[str]]:
        first = stage.start("first")
        await later(0.001)
        rest = [
            asyncio.create_task(stage.publish(name, place=place))
            for name, place in (("behind", HERE), ("other", ELSEWHERE))
        ]
        await later(0.001)
        await stage.publisher.close()
        await asyncio.gather(first, *rest)
        return stage.keys(), stage.keys(ELSEWHERE.partition)

    assert play(story) == (["first", "behind"], ["other"])


def test_an_outcome_comes_by_its_own_deadline() -> None:
    """Each of three callers behind a frozen broker is answered when it said, and not when the last did."""

    async def story(stage: Stage) -> list[tuple[float, str]]:
        stage.log.halt()
        asked_s = now()

        async def one(timeout_s: float) -> tuple[float, str]:
            try:
                await stage.publish(f"{timeout_s}", timeout_s=timeout_s)
            except MessagingError as error:
                return now() - asked_s, error.code
            return now() - asked_s, "ok"

        return await asyncio.gather(*(one(timeout_s) for timeout_s in (0.2, 0.7, 1.5)))

    answers = play(story)
    assert [at_s for at_s, _ in answers] == pytest.approx([0.2, 0.7, 1.5])
    assert {code for _, code in answers} == {"append_unknown"}


def test_what_had_no_turn_was_definitely_not_sent() -> None:
    """Behind a batch that hangs, a record's deadline is a refusal and the record never arrives."""

    async def story(stage: Stage) -> list[str]:
        stage.log.halt()
        first = stage.start("first", timeout_s=2.0)
        await later(0.1)
        with pytest.raises(AppendNotSent):
            await stage.publish("second", timeout_s=0.5)
        stage.log.resume()
        await first
        await stage.publish("third")
        return stage.keys()

    assert play(story) == ["first", "third"]


def test_a_cancelled_caller_leaves_no_half_state() -> None:
    """One that waits is taken back; one that has left lands whole, and its place serves the next."""

    async def story(stage: Stage) -> tuple[list[str], int]:
        sent = stage.start("sent")
        await later(0.001)
        waiting = stage.start("waiting")
        await later(0.001)
        for task in (sent, waiting):
            task.cancel()
        await asyncio.gather(sent, waiting, return_exceptions=True)
        await stage.publish("next")
        return stage.keys(), stage.health().unknown

    assert play(story) == (["sent", "next"], 2)


@pytest.mark.parametrize(("fault", "expected"), [("refuse", AppendRefused), ("lose", AppendUnknown)])
def test_a_failed_append_costs_a_rebuild_and_nothing_more(fault: str, expected: type[Exception]) -> None:
    """The next record is published by a new producer."""

    async def story(stage: Stage) -> tuple[int, int]:
        setattr(stage.log.faults, fault, 1.0)
        with pytest.raises(expected):
            await stage.publish("lost", timeout_s=1.0)
        setattr(stage.log.faults, fault, 0.0)
        await later(0.5)
        offset = await stage.publish("next")
        return offset, stage.health().rebuilds

    assert play(story) == (0, 1)


def test_what_was_not_sent_costs_no_rebuild() -> None:
    """A missing topic is the business of those who publish to it, and of nobody else."""

    async def story(stage: Stage) -> int:
        with pytest.raises(MessagingError):
            await stage.publisher.publish("acme", Place("missing", 0), Record(b"k", b""), timeout_s=1.0)
        await stage.publish("next")
        return stage.health().rebuilds

    assert play(story) == 0


def test_a_silent_broker_has_nobody_waiting() -> None:
    """After the silence was noticed everything is refused at once; when the broker answers, all is as before,
    and nothing that was refused or unknown while it could not leave is ever sent.
    """

    async def story(stage: Stage) -> tuple[list[str], float, str]:
        stage.log.cut("hub")
        hangs = stage.start("hangs", timeout_s=1.0)
        await later(0.1)
        with pytest.raises(AppendNotSent):
            await stage.publish("waits", timeout_s=60.0)
        with pytest.raises(AppendUnknown):
            await hangs
        assert now() < 1.1
        unhealthy = stage.health().unhealthy
        asked_s = now()
        with pytest.raises(AppendNotSent) as refusal:
            await stage.publish("refused")
        took_s = now() - asked_s
        assert refusal.value.retry_after_s
        await later(30)
        stage.log.mend("hub")
        await later(3)
        await stage.publish("next")
        assert not stage.health().unhealthy
        return stage.keys(), took_s, unhealthy

    keys, took_s, unhealthy = play(story)
    assert keys == ["next"]
    assert took_s < 0.001
    assert "does not answer" in unhealthy


def test_a_flooding_tenant_is_refused_and_starves_nobody() -> None:
    """Its own bound holds it; the other tenant's records take one or two round trips."""

    async def story(stage: Stage) -> tuple[int, list[float]]:
        flood = [stage.start(f"flood-{n}", tenant="flood", timeout_s=9.0) for n in range(3_000)]
        await asyncio.sleep(0)
        times = []
        for number in range(20):
            asked_s = now()
            await stage.publish(f"quiet-{number}", tenant="quiet")
            times.append(now() - asked_s)
        outcomes = await asyncio.gather(*flood, return_exceptions=True)
        return sum(isinstance(outcome, QueueFull) for outcome in outcomes), times

    refused, times = play(story, limits=QueueLimits(tenant_records=2_000))
    assert refused == 1_000
    assert max(times) < 0.1


def test_bulk_does_not_stand_before_critical() -> None:
    """A critical record has a producer of its own, so bulk in flight on its partition does not hold it."""

    async def story(stage: Stage) -> float:
        bulk = [stage.start(f"bulk-{n}") for n in range(2_000)]
        await later(0.001)
        asked_s = now()
        await stage.publisher.publish(
            "acme", HERE, Record(b"halt", b""), timeout_s=1.0, priority=Priority.CRITICAL
        )
        took_s = now() - asked_s
        assert not all(task.done() for task in bulk)
        await asyncio.gather(*bulk)
        return took_s

    assert play(story) <= 0.0201


def test_sizes_are_checked_before_anything_is_sent() -> None:
    """A record that fits no batch is refused, and the producer is as good as before."""

    async def story(stage: Stage) -> int:
        with pytest.raises(AppendNotSent, match="too large"):
            await stage.publisher.publish("acme", HERE, Record(b"k", b"v" * 1_000_000), timeout_s=1.0)
        await stage.publish("next")
        return stage.health().rebuilds

    assert play(story) == 0


def test_closing_sends_what_it_can_and_is_bounded() -> None:
    """On a well broker everything that waits is sent; behind a frozen one it is over after the grace."""

    async def well(stage: Stage) -> list[object]:
        waiting = [stage.start(f"{n}") for n in range(1_200)]
        await asyncio.sleep(0)
        await stage.publisher.close()
        with pytest.raises(AppendNotSent):
            await stage.publish("late")
        return await asyncio.gather(*waiting, return_exceptions=True)

    async def frozen(stage: Stage) -> tuple[float, Counter[str], list[str]]:
        stage.log.cut("hub")
        sent = stage.start("sent", timeout_s=60)
        await later(0.1)
        waiting = stage.start("waiting", timeout_s=60)
        await later(0.1)
        asked_s = now()
        await stage.publisher.close()
        took_s = now() - asked_s
        outcomes = await asyncio.gather(sent, waiting, return_exceptions=True)
        stage.log.mend("hub")
        await later(5)
        return took_s, Counter(type(outcome).__name__ for outcome in outcomes), stage.keys()

    assert play(well) == list(range(1_200))
    took_s, outcomes, keys = play(frozen)
    assert took_s <= 5
    assert outcomes == {"AppendUnknown": 1, "AppendNotSent": 1}
    assert keys == []


def test_health_tells_of_what_is_pending() -> None:
    """Depth by tenant, the age of the oldest, and how many a second come back."""

    async def story(stage: Stage) -> tuple[dict[str, int], float, float, int]:
        waiting = [stage.start(f"{n}", tenant=tenant) for tenant in "ab" for n in range(3)]
        await later(0.004)
        early = stage.health()
        await asyncio.gather(*waiting)
        await later(5)
        late = stage.health()
        return dict(early.depths), early.oldest_pending_s, late.acks_per_s, len(late.depths)

    depths, age_s, acks_per_s, left = play(story)
    assert (depths, left) == ({"a": 3, "b": 3}, 0)
    assert age_s == pytest.approx(0.004)
    assert acks_per_s == pytest.approx(6 / 5)


class Storm:
    """Random faults, outages and cancellations around many callers, and what they were told."""

    def __init__(self, stage: Stage, rng: Random) -> None:
        self.stage = stage
        self.rng = rng
        self.ok: list[tuple[int, str]] = []
        self.refused: set[str] = set()

    async def rage(self) -> None:
        weather = asyncio.create_task(self._weather())
        calls = []
        for number in range(300):
            calls.append(asyncio.create_task(self._call(f"{number:04}")))
            await later(self.rng.expovariate(20))
            if self.rng.random() < 0.1:
                self.rng.choice(calls).cancel()
        outcomes = await asyncio.gather(*calls, weather, return_exceptions=True)
        assert not [outcome for outcome in outcomes if isinstance(outcome, AssertionError)]
        await later(30)

    async def _call(self, value: str) -> None:
        timeout_s, asked_s = self.rng.choice((0.3, 1.0, 4.0)), now()
        try:
            offset = await self.stage.publish(value, tenant=self.rng.choice("abc"), timeout_s=timeout_s)
            self.ok.append((offset, value))
        except AppendRefused:
            self.refused.add(value)
        except AppendUnknown:
            assert now() > asked_s
        assert now() - asked_s <= timeout_s + 1e-6

    async def _weather(self) -> None:
        log, rng = self.stage.log, self.rng
        for _ in range(12):
            await later(rng.uniform(0, 1))
            log.faults.refuse, log.faults.lose, log.faults.lose_ack = (rng.choice((0, 0, 0.2)) for _ in "123")
            rng.choice((log.halt, lambda: log.cut("hub"), lambda: None))()
            await later(rng.uniform(0, 2))
            log.resume()
            log.mend("hub")


@pytest.mark.parametrize("seed", range(60))
def test_no_storm_breaks_a_promise(seed: int) -> None:
    """Every caller is answered by its deadline; ok is in the log, once; refused is nowhere; nothing is left
    pending.
    """

    async def story(stage: Stage) -> tuple[Storm, list[str], int]:
        storm = Storm(stage, Random(seed))
        await storm.rage()
        return storm, stage.keys(), len(stage.health().depths)

    storm, keys, left = play(story, seed=seed)
    assert left == 0
    assert len(keys) == len(set(keys))
    assert storm.ok, "the storm let nothing through, so it proved nothing"
    assert all(keys[offset] == value for offset, value in storm.ok)
    assert not storm.refused & set(keys)
