"""Calls that leave together: which do, what each gets back, and what one of them cannot do to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.router.outbox import Outbox
from deployments.router.replies import Reply
from models.decision import Ticket
from models.errors import ReplicaLost, TicketRefused
from models.forecast import InferCall, InferReply, LoadReport
from tests.support.virtual_loop import later, run_virtual
from tests.unit.execution.doubles import a_call, a_forecast, a_ticket

ONE_CALL = a_call().nbytes


@dataclass
class FakePools:
    """Notes what leaves, and answers each call with its first return after a second."""

    ready: bool = True
    error: Exception | None = None
    refuses: bool = False
    left: list[list[float]] = field(default_factory=list)
    tickets: list[Ticket] = field(default_factory=list)
    stopped: list[list[float]] = field(default_factory=list)

    def send(self, call: InferCall, ticket: Ticket) -> FakeResponse:
        return FakeResponse(self, self._leave([call], ticket))

    def send_many(self, calls: Sequence[InferCall], ticket: Ticket) -> FakeResponses:
        return FakeResponses(self, self._leave(calls, ticket))

    def _leave(self, calls: Sequence[InferCall], ticket: Ticket) -> list[float]:
        if self.refuses:
            raise TicketRefused("nobody knows that pool")
        self.left.append([float(call.window[0, 0]) for call in calls])
        self.tickets.append(ticket)
        return self.left[-1]


@dataclass
class FakeResponses:
    """Calls on their way as one."""

    pools: FakePools
    asked: list[float]

    async def reply(self) -> list[Reply]:
        await later(1.0)
        if self.pools.error:
            raise self.pools.error
        return [InferReply([a_forecast(first, 0.9)], "a", "c", 0, 0, LOAD) for first in self.asked]

    def cancel(self) -> None:
        self.pools.stopped.append(self.asked)


@dataclass
class FakeResponse:
    """One call on its way."""

    pools: FakePools
    asked: list[float]

    async def reply(self) -> Reply:
        return (await FakeResponses(self.pools, self.asked).reply())[0]

    def cancel(self) -> None:
        self.pools.stopped.append(self.asked)


LOAD = LoadReport("r1", "b", 1, 0, 0, 1, 1.0, 0.0, 1)


def an_outbox(pools: FakePools, *, most_calls: int = 64) -> Outbox:
    """An outbox whose parcels hold so many calls of one row."""
    return Outbox(pools, most_bytes=most_calls * ONE_CALL + 1)


async def asked(outbox: Outbox, first: float, *, replica: str = "r1", model: str = "ridge@1") -> float:
    """The middle of the answer to one call, as a routed client would ask for it."""
    response = outbox.send(a_call(model, first=first), a_ticket(replica))
    try:
        reply = await response.reply()
    except asyncio.CancelledError:
        response.cancel()
        raise
    assert isinstance(reply, InferReply)
    return reply.forecasts[0].q50


def test_calls_of_one_iteration_leave_as_one() -> None:
    """Three callers, one handle call, each with the answer to its own."""
    pools = FakePools()

    async def main() -> list[float]:
        outbox = an_outbox(pools)
        return await asyncio.gather(*(asked(outbox, float(number)) for number in range(3)))

    assert run_virtual(main()) == [0.0, 1.0, 2.0]
    assert pools.left == [[0.0, 1.0, 2.0]]


def test_a_call_alone_leaves_at_once_and_as_it_is() -> None:
    """It is under way one iteration later, without the envelope of many."""
    pools = FakePools()

    async def main() -> None:
        call = asyncio.create_task(asked(an_outbox(pools), 1.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert pools.left == [[1.0]]
        assert asyncio.get_running_loop().time() == 0
        assert await call == 1.0

    run_virtual(main())


@given(
    st.lists(
        st.tuples(st.sampled_from(["r1", "r2"]), st.sampled_from(["a@1", "b@1"])), min_size=1, max_size=30
    ),
    st.integers(1, 5),
)
def test_parcels_are_for_one_replica_and_model_and_bounded(
    calls: list[tuple[str, str]], most_calls: int
) -> None:
    """Whatever is sent at once: all is answered rightly, in as few parcels as the bounds allow."""
    pools = FakePools()

    async def main() -> list[float]:
        outbox = an_outbox(pools, most_calls=most_calls)
        return await asyncio.gather(
            *(
                asked(outbox, float(number), replica=replica, model=model)
                for number, (replica, model) in enumerate(calls)
            )
        )

    assert run_virtual(main()) == [float(number) for number in range(len(calls))]
    for parcel, ticket in zip(pools.left, pools.tickets, strict=True):
        kinds = {calls[int(number)] for number in parcel}
        assert len(kinds) == 1
        assert ticket.replica == next(iter(kinds))[0]
        assert len(parcel) <= most_calls
    assert len(pools.left) == sum(-(-calls.count(kind) // most_calls) for kind in set(calls))


def test_one_that_gives_up_leaves_the_others_alone() -> None:
    """Its caller is free at once; nothing is stopped while somebody still waits."""
    pools = FakePools()

    async def main() -> list[float]:
        outbox = an_outbox(pools)
        calls = [asyncio.create_task(asked(outbox, float(number))) for number in range(3)]
        await later(0.5)
        calls[1].cancel()
        await asyncio.wait([calls[1]])
        assert asyncio.get_running_loop().time() == 0.5
        return [await calls[0], await calls[2]]

    assert run_virtual(main()) == [0.0, 2.0]
    assert pools.stopped == []


@pytest.mark.parametrize("count", [1, 3])
def test_when_all_give_up_it_is_stopped_where_it_runs(count: int) -> None:
    """The last to give up stops the handle call, whether it carries one or many."""
    pools = FakePools()

    async def main() -> None:
        outbox = an_outbox(pools)
        calls = [asyncio.create_task(asked(outbox, float(number))) for number in range(count)]
        await later(0.5)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

    run_virtual(main())
    assert pools.stopped == [[float(number) for number in range(count)]]


def test_who_gives_up_before_it_left_is_not_sent() -> None:
    """Of two calls one is cancelled in the same iteration: the other leaves alone."""
    pools = FakePools()

    async def main() -> None:
        outbox = an_outbox(pools)
        first, second = (outbox.send(a_call(first=n), a_ticket("r1")) for n in (1.0, 2.0))
        first.cancel()
        await second.reply()

    run_virtual(main())
    assert pools.left == [[2.0]]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("pools", [FakePools(error=ReplicaLost("dead")), FakePools(refuses=True)], ids=str)
def test_a_failure_is_everybodys(pools: FakePools, count: int) -> None:
    """Who travelled together hears of it together: the replica died, or nothing could be sent to it."""

    async def main() -> list[float | BaseException]:
        outbox = an_outbox(pools)
        calls = (asked(outbox, float(number)) for number in range(count))
        return await asyncio.gather(*calls, return_exceptions=True)

    expected = TicketRefused if pools.refuses else ReplicaLost
    assert [type(outcome) for outcome in run_virtual(main())] == [expected] * count
