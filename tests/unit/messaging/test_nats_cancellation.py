"""A cancellation that nats-py drops is noticed where the request ends."""

from __future__ import annotations

import asyncio

import pytest

from messaging.denials import Denials
from messaging.nats.wire import translated
from models.errors import BrokerUnavailable

DENIALS = Denials("nats", None)


async def _request(answer: asyncio.Future[bytes], went_on: list[bool]) -> None:
    """What nats-py does for a request, and what its caller does afterwards."""
    async with translated("ask", DENIALS):
        await asyncio.wait_for(answer, 5)
    went_on.append(True)


async def test_a_cancellation_together_with_the_answer_ends_the_task() -> None:
    """Until Python 3.12 `asyncio.wait_for` returns the answer, and nobody hears of the cancellation."""
    answer, went_on = asyncio.get_running_loop().create_future(), list[bool]()
    asking = asyncio.create_task(_request(answer, went_on))
    await asyncio.sleep(0)
    answer.set_result(b"here")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not went_on


async def test_a_timeout_inside_is_still_the_brokers_silence() -> None:
    """A deadline cancels too, but takes that back: it is no cancellation of the caller's."""
    with pytest.raises(BrokerUnavailable, match="ask"):
        async with translated("ask", DENIALS), asyncio.timeout(0):
            await asyncio.Event().wait()


async def test_an_earlier_cancellation_does_not_end_the_clean_up_after_it() -> None:
    """Closing asks NATS too, in a task that has been cancelled already."""
    closed: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            async with translated("close", DENIALS):
                await asyncio.sleep(0)
            closed.append(True)

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert closed
