"""The latency router without a Serve: what it makes of results, and how calls wait their turn."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError, TaskCancelledError
from ray.serve.exceptions import RequestCancelledError

from deployments.router.latency_router import LatencyRouter, _actor_end, _grpc_end, _watch_reader
from routing.ticketless.choice import CallEnd
from tests.support.virtual_loop import later, run_virtual

ADMITTED, TURNED_AWAY = SimpleNamespace(accepted=True), SimpleNamespace(accepted=False)


def actor_result(**said: Any) -> Any:
    """An actor's result as Serve holds it."""
    return SimpleNamespace(
        **{"_rejection_response": ADMITTED, "_obj_ref": None, "_is_streaming": False} | said
    )


class GrpcCall:
    """A call that has completed."""

    def __init__(
        self, *, code: str = "OK", accepted: str = "1", error: bool = False, cancelled: bool = False
    ) -> None:
        self._code = code
        self._accepted = accepted
        self._error = error
        self._cancelled = cancelled

    def cancelled(self) -> bool:
        return self._cancelled

    async def code(self) -> Any:
        return SimpleNamespace(name=self._code)

    async def initial_metadata(self) -> dict[str, str]:
        return {"accepted": self._accepted}

    def __await__(self) -> Any:
        async def response() -> Any:
            return SimpleNamespace(is_error=self._error)

        return response().__await__()


@pytest.mark.parametrize(
    ("result", "told", "end"),
    [
        (actor_result(), RayActorError(), CallEnd.FAILED),
        (actor_result(_rejection_response=TURNED_AWAY), TaskCancelledError(), CallEnd.REFUSED),
        (actor_result(_rejection_response=TURNED_AWAY), None, CallEnd.REFUSED),
        (actor_result(), TaskCancelledError(), CallEnd.ABANDONED),
        (actor_result(_is_streaming=True), None, CallEnd.UNSEEN),
        (actor_result(_rejection_response=None), None, CallEnd.UNSEEN),
    ],
)
def test_ends_of_actor_calls(result: Any, told: Any, end: CallEnd) -> None:
    """A crash, a refusal, a cancellation and a stream are told apart without a look at the answer."""
    assert run_virtual(_actor_end(result, told)) is end


def test_an_admission_that_comes_late_is_waited_for() -> None:
    """The completion may overtake the reply that admitted the call: it is asked for again."""
    result = actor_result(_rejection_response=None)

    async def end() -> CallEnd:
        asyncio.get_running_loop().call_later(0.02, setattr, result, "_rejection_response", TURNED_AWAY)
        return await _actor_end(result, None)

    assert run_virtual(end()) is CallEnd.REFUSED


@pytest.mark.parametrize(
    ("call", "end"),
    [
        (GrpcCall(), CallEnd.ANSWERED),
        (GrpcCall(error=True), CallEnd.FAILED),
        (GrpcCall(code="UNAVAILABLE"), CallEnd.FAILED),
        (GrpcCall(accepted="0"), CallEnd.REFUSED),
        (GrpcCall(cancelled=True), CallEnd.ABANDONED),
    ],
)
def test_ends_of_grpc_calls(call: GrpcCall, end: CallEnd) -> None:
    """The response says whether it is an error, and the first metadata whether the call was admitted."""
    result = SimpleNamespace(_call=call, _rejection_response=None, _is_streaming=False)

    assert run_virtual(_grpc_end(result)) is end


class Stream:
    """A stream that ends with the given exception."""

    def __init__(self, last: BaseException) -> None:
        self._last = last
        self._latency_router_flight = "flight"

    async def __anext__(self) -> int:
        raise self._last

    def __next__(self) -> int:
        raise self._last


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (StopAsyncIteration(), [True]),
        (ValueError("broken"), [False]),
        (asyncio.CancelledError(), []),
        (RequestCancelledError("id"), []),
    ],
)
def test_the_reader_of_a_stream_meets_its_end(last: BaseException, told: list[bool]) -> None:
    """An ordinary end and an error are told; whoever gives up reading tells nothing."""
    stream, heard = Stream(last), list[bool]()
    _watch_reader(stream, SimpleNamespace(read=lambda flight, *, ok: heard.append(ok)))  # type: ignore[arg-type]

    async def read() -> None:
        with pytest.raises(type(last)):
            await stream.__anext__()

    run_virtual(read())
    assert heard == told


class TestWaiting:
    """Calls that found no place, woken one by one."""

    @staticmethod
    def a_router() -> LatencyRouter:
        """A router of which only the waiting is alive."""
        router = LatencyRouter.__new__(LatencyRouter)
        router.initialize_state()
        router._lazily_fetched_loop = asyncio.get_running_loop()
        router.initial_backoff_s, router.backoff_multiplier, router.max_backoff_s = 0.025, 2.0, 0.5
        return router

    def test_the_longest_waiting_call_is_woken_first(self) -> None:
        """In the order in which they came; a wake-up is not spent on one that has been given up."""

        async def order() -> list[str]:
            router, woken = self.a_router(), list[str]()

            async def wait(name: str) -> None:
                await router._room(attempt=10)
                woken.append(name)

            waiting = {name: asyncio.create_task(wait(name)) for name in "abc"}
            await asyncio.sleep(0)
            waiting["a"].cancel()
            await asyncio.sleep(0)
            assert router._wake_one()
            await later(0.01)
            assert router._wake_one()
            assert not router._wake_one()
            await later(0.01)
            return woken

        assert run_virtual(order()) == ["b", "c"]

    def test_a_call_that_nobody_wakes_looks_again_after_serves_backoff(self) -> None:
        """Places are also freed by calls of others, of which nobody tells."""

        async def waited_s() -> float:
            router, begun_s = self.a_router(), asyncio.get_running_loop().time()
            await router._room(attempt=2)
            return asyncio.get_running_loop().time() - begun_s

        assert run_virtual(waited_s()) == pytest.approx(0.1)
