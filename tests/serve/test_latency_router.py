"""The latency router in a real Serve, on both transports: what it sees of calls, what it does about them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from ray import serve
from ray.serve import RunTarget
from ray.serve.exceptions import RequestCancelledError
from ray.serve.handle import DeploymentHandle

from tests.serve import latency_notes
from tests.serve.conftest import TRANSPORTS
from tests.serve.deleted import deleted
from tests.serve.latency_app import CAPACITY, caller, workers
from tests.support.arrivals import next_arrival
from tests.support.eventually import eventually

pytestmark = [pytest.mark.serve, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def deployed(ray_runtime: None) -> Iterator[dict[str, DeploymentHandle[Any]]]:
    """Three workers, two that take one call at a time, and a caller with two of its own."""
    apps = {
        "three": workers(replicas=3),
        "narrow": workers(replicas=2, capacity=1),
        "caller": caller(workers(replicas=2, shipped=True)),
    }
    targets = [RunTarget(app, name=name, route_prefix=None) for name, app in apps.items()]
    yield dict(zip(apps, serve.run_many(targets), strict=True))
    deleted(*apps)


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each of Serve's two transports in turn, as an option of a handle."""
    return {"_by_reference": request.param == "actor"}


@pytest.fixture
def three(deployed: dict[str, DeploymentHandle[Any]], transport: dict[str, Any]) -> DeploymentHandle[Any]:
    """The handle to three workers, by one of the transports."""
    latency_notes.forget()
    return deployed["three"].options(**transport)


@pytest.fixture
def narrow(deployed: dict[str, DeploymentHandle[Any]], transport: dict[str, Any]) -> DeploymentHandle[Any]:
    """The handle to two workers that take one call at a time."""
    latency_notes.forget()
    return deployed["narrow"].options(**transport)


async def ends(expected: dict[str, int]) -> None:
    """Wait until the router has seen exactly these ends."""

    def same() -> bool:
        assert dict(latency_notes.ENDS) == expected
        return True

    await eventually(same)


async def shares(handle: DeploymentHandle[Any], *, calls: int, rate: float, seconds: float) -> Counter[int]:
    """Answers per process of paced calls."""
    return Counter(await asyncio.gather(*await paced(handle, calls=calls, rate=rate, seconds=seconds)))


async def paced(
    handle: DeploymentHandle[Any], *, calls: int, rate: float, seconds: float
) -> list[asyncio.Future[int]]:
    """Calls that start `rate` a second, whatever became of those before; returned once all have started."""
    started: list[asyncio.Future[int]] = []
    for _ in range(calls):
        started.append(asyncio.ensure_future(_answer(handle, seconds)))
        await next_arrival(rate)
    return started


async def _answer(handle: DeploymentHandle[Any], seconds: float) -> int:
    return int(await handle.answer.remote(seconds))


async def _failing(call: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(ValueError, match="told to fail"):
        await call()


async def test_answers_and_exceptions_are_told_apart(three: DeploymentHandle[Any]) -> None:
    """The outcome of a unary call is seen on either transport, although Serve tells its router nothing."""
    for _ in range(3):
        await three.answer.remote()
    for _ in range(2):
        await _failing(three.fail.remote)

    await ends({"answered": 3, "failed": 2})


async def test_a_call_that_was_given_up_is_no_answer(three: DeploymentHandle[Any]) -> None:
    """A cancelled call ends as abandoned."""
    response = three.answer.remote(5.0)
    await eventually(lambda: any(r._choice._replicas for r in latency_notes.ROUTERS))
    await asyncio.wait([asyncio.ensure_future(_answer(three, 0.1))])
    response.cancel()  # type: ignore[no-untyped-call]
    with pytest.raises(RequestCancelledError):
        await response

    await ends({"answered": 1, "abandoned": 1})


async def test_the_outcome_of_a_stream_is_learned_from_its_reader(three: DeploymentHandle[Any]) -> None:
    """A stream that ends well and one that breaks are told apart when they are read."""
    streaming: Any = three.options(stream=True)
    assert [item async for item in streaming.stream.remote(3)] == [0, 1, 2]

    async def broken() -> None:
        async for _ in streaming.stream.remote(3, fail=True):
            pass

    await _failing(broken)

    await ends({"unseen": 2})
    await eventually(lambda: dict(latency_notes.READ) == {True: 1, False: 1})


async def test_dispatched_calls_are_watched_and_broadcasts_are_not(three: DeploymentHandle[Any]) -> None:
    """What Serve sends later to a chosen replica is timed; what it sends to every replica teaches nothing."""
    async with three.answer.choose_replica() as selected:
        await three.answer.dispatch(selected)
    async with three.fail.choose_replica() as selected:
        await _failing(lambda: three.fail.dispatch(selected))
    answered = await three.broadcast("slow_down", 0, 1.0).results_async()

    assert len(set(answered)) == 3
    await ends({"answered": 1, "failed": 1})


async def test_many_calls_of_one_request_all_finish(
    deployed: dict[str, DeploymentHandle[Any]], transport: dict[str, Any]
) -> None:
    """Fan-out inside one request, which shares an internal id and hangs a plain RequestRouter."""
    answered = await deployed["caller"].fan_out.remote(40, transport)

    assert len(answered) == 40
    assert len(set(answered)) == 2


async def test_a_storm_on_replicas_of_one_place_is_weathered(
    narrow: DeploymentHandle[Any], transport: dict[str, Any]
) -> None:
    """Where every replica is full calls wait their turn, also of two routers that cannot see each other."""
    other = serve.get_deployment_handle("Worker", "narrow").options(**transport)
    begun = time.monotonic()
    answered = await asyncio.gather(*(_answer(h, 0.02) for _ in range(40) for h in (narrow, other)))

    assert len(answered) == 80
    assert time.monotonic() - begun < 20
    assert min(Counter(answered).values()) > 10


async def test_a_slow_replica_is_left_alone_until_it_heals(three: DeploymentHandle[Any]) -> None:
    """Ten times slower, it gets at most a tenth of the calls within 5 s; healed, a quarter within 30 s."""
    victim = await three.answer.remote()
    await three.broadcast("slow_down", victim, 10.0).results_async()
    await shares(three, calls=100, rate=20, seconds=0.05)

    slow = await shares(three, calls=100, rate=20, seconds=0.05)
    assert slow[victim] <= 10

    await three.broadcast("slow_down", victim, 1.0).results_async()
    deadline = time.monotonic() + 30
    share = 0.0
    while share < 0.25 and time.monotonic() < deadline:
        share = (await shares(three, calls=60, rate=30, seconds=0.05))[victim] / 60
    assert share >= 0.25, _believed(await _replica_of(three, victim))


async def test_a_frozen_replica_is_out_within_two_seconds(three: DeploymentHandle[Any]) -> None:
    """A process that is stopped gets no call later than 2 s after, and gets some again when it goes on."""
    await shares(three, calls=60, rate=60, seconds=0.05)
    victim = await three.answer.remote()
    name = await _replica_of(three, victim)
    os.kill(victim, signal.SIGSTOP)
    try:
        pending = await paced(three, calls=40, rate=20, seconds=0.05)  # two seconds
        sent = _sent_to(name)
        served = await shares(three, calls=100, rate=50, seconds=0.05)

        assert _sent_to(name) == sent
        assert victim not in served
    finally:
        os.kill(victim, signal.SIGCONT)
    await asyncio.gather(*pending)
    await eventually(lambda: _back(three, victim), timeout_s=20)


async def test_a_crash_in_a_call_fails_that_call_only(three: DeploymentHandle[Any]) -> None:
    """The call of a replica that dies fails and is seen to; the others are served by the rest meanwhile."""
    with pytest.raises(Exception, match=r"(?i)actor|unavailable"):
        await three.die.remote()
    served = await shares(three, calls=60, rate=60, seconds=0.01)

    assert sum(served.values()) == 60
    assert latency_notes.ENDS["failed"] >= 1
    await eventually(lambda: len(_current()._choice._replicas) == 3, timeout_s=120)  # Ray starts a process


async def test_new_replicas_get_their_share(deployed: dict[str, DeploymentHandle[Any]]) -> None:
    """Scaled from one to three under load, every replica serves soon after it is there."""
    handle = serve.run(workers(replicas=1), name="growing", route_prefix=None)
    try:
        assert len(await shares(handle, calls=40, rate=40, seconds=0.05)) == 1
        serve.run(workers(replicas=3), name="growing", route_prefix=None)

        async def balanced() -> bool:
            served = await shares(handle, calls=90, rate=40, seconds=0.05)
            return len(served) == 3 and min(served.values()) >= 18

        await eventually(balanced, timeout_s=30)
    finally:
        serve.delete("growing")


async def test_a_wrong_setting_is_named(deployed: dict[str, DeploymentHandle[Any]]) -> None:
    """The shipped configuration refuses a setting that it does not know, before anything is deployed."""
    from deployments.router.latency_router import latency_routing  # noqa: PLC0415

    with pytest.raises(ValueError, match="slotz"):
        latency_routing(slotz=3)
    assert latency_routing(slots=CAPACITY).request_router_kwargs == {"slots": CAPACITY}


def _current() -> Any:
    """The router to the three workers in this process."""
    return next(r for r in latency_notes.ROUTERS if r.app_name == "three")


def _believed(name: str) -> str:
    """Why it may not have been chosen."""
    believed = _current()._choice._replicas[name]
    service = believed._service
    return (
        f"seen {service._seen_ms}, {(time.monotonic_ns() - service._seen_ns) / 1e9:.1f} s ago, confirmed "
        f"{service._confirmed} times; {len(believed.flights)} calls out, {believed._failures} failed"
    )


def _sent_to(name: str) -> int:
    return len(_current()._choice._replicas[name].flights)


async def _replica_of(handle: DeploymentHandle[Any], pid: int) -> str:
    """What Serve calls the replica with this process."""
    names: dict[int, str] = dict(await handle.broadcast("who").results_async())
    return names[pid]


async def _back(handle: DeploymentHandle[Any], pid: int) -> bool:
    return pid in await shares(handle, calls=20, rate=100, seconds=0.05)
