"""What is put off until an answer is out, and measurements that are told together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from deployments.router.afterwards import Afterwards
from deployments.router.late_meter import LateMeter
from models.metrics import MemoryMeter
from tests.support.eventually import eventually
from tests.unit.router.test_routed_client import ScriptedPools, a_hub, wanted, windows


async def test_work_is_done_as_soon_as_the_loop_is_free() -> None:
    """Not before whoever put it off has gone on; in order, and once."""
    afterwards, done = Afterwards(), list[int]()
    for number in range(3):
        afterwards.do(partial(done.append, number))
    assert done == []

    await asyncio.sleep(0)
    afterwards.catch_up()

    assert done == [0, 1, 2]


async def test_work_that_puts_off_more_is_followed_up() -> None:
    """Catching up ends when nothing waits."""
    afterwards, done = Afterwards(), list[str]()
    afterwards.do(lambda: afterwards.do(lambda: done.append("second")))

    afterwards.catch_up()

    assert done == ["second"]


async def test_what_fails_is_reported_and_holds_nothing_up() -> None:
    """It belongs to a request that is over, and whoever catches up has to go on with its own."""
    afterwards, done, told = Afterwards(), list[str](), list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(str(what["exception"])))
    afterwards.do(lambda: done.remove("nothing"))
    afterwards.do(lambda: done.append("next"))

    afterwards.catch_up()

    assert done == ["next"]
    assert told == ["list.remove(x): x not in list"]


async def test_a_decision_knows_of_every_answer_before_it() -> None:
    """A caller that asks again at once, without giving up the loop, finds the replica free that answered."""
    hub = a_hub(ScriptedPools())
    for _ in range(20):
        answer = await hub.client.infer(wanted(), *windows(2), traceparent="")
        queues = {view.queue for view in answer.decision.shortlist}
        assert queues == {0}


async def test_measurements_arrive_summed_and_in_full() -> None:
    """Counts are added up by name and labels; of a gauge the last value counts; every observation is told."""
    told = _Told()
    meter = LateMeter(told)
    for _ in range(3):
        meter.count("hub_shed_total", {"priority": "bulk", "reason": "late"})
    meter.count("hub_shed_total", {"priority": "critical", "reason": "late"}, 2.0)
    for value in (1.0, 4.0):
        meter.gauge("hub_ejected_replicas", {"pool": "a"}, value)
        meter.observe("hub_p_meet", {"profile": "balanced"}, value)
    assert told.values == {}

    await eventually(lambda: told.values)

    assert told.calls == [3.0, 2.0, 4.0, 1.0, 4.0]


async def test_whoever_closes_tells_the_rest() -> None:
    """After a flush nothing is kept, and nothing is told twice."""
    told = _Told()
    meter = LateMeter(told)
    meter.count("hub_hedges_total", {"profile": "balanced"})

    meter.flush()
    meter.flush()

    assert told.calls == [1.0]


class _Told(MemoryMeter):
    """Also keeps every value in the order in which it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[float] = []

    def count(self, name: str, labels: Mapping[str, str], by: float = 1.0) -> None:
        super().count(name, labels, by)
        self.calls.append(by)

    def gauge(self, name: str, labels: Mapping[str, str], value: float) -> None:
        super().gauge(name, labels, value)
        self.calls.append(value)

    def observe(self, name: str, labels: Mapping[str, str], value: float) -> None:
        super().observe(name, labels, value)
        self.calls.append(value)
