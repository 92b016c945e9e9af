"""How the handles to the pools come up, without Serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from ray import serve
from ray.serve.exceptions import RayServeException

from deployments.router.pools import ServePools
from tests.support.eventually import eventually


@dataclass
class FakeHandle:
    """What the pools ask of a handle."""

    is_initialized: bool = False
    options_taken: list[dict[str, Any]] = field(default_factory=list)

    def _init(self) -> None:
        assert not self.is_initialized
        self.is_initialized = True

    def options(self, **options: Any) -> FakeHandle:
        assert self.is_initialized
        self.options_taken.append(options)
        return self


@dataclass
class FakeServe:
    """Applications that exist, and pools whose replicas were seen."""

    handles: dict[str, FakeHandle] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    asked: int = 0

    def get_deployment_handle(self, deployment: str, app: str) -> FakeHandle:
        self.asked += 1
        if deployment not in self.handles:
            raise RayServeException(f"{deployment} of {app} does not exist")
        return self.handles[deployment]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeServe:
    """Stands in for Serve's handles."""
    fake = FakeServe()
    monkeypatch.setattr(serve, "get_deployment_handle", fake.get_deployment_handle)
    return fake


def the_pools(fake: FakeServe) -> ServePools:
    """Two pools, `left` and `right`."""
    return ServePools(("left", "right"), by_reference_from=100, seen=fake.seen.__contains__)


async def opened(pools: ServePools, *, within_s: float, change: Callable[[], None] = lambda: None) -> bool:
    """Whether `open` returns in time; `change` happens while it waits."""
    task = asyncio.create_task(pools.open(seen_timeout_s=0.2))
    try:
        await asyncio.sleep(0)
        change()
        await asyncio.wait_for(task, within_s)
    except TimeoutError:
        return False
    finally:
        await pools.close()
    return True


async def test_is_ready_when_all_replicas_are_seen(fake: FakeServe) -> None:
    """Every handle is initialised, once, with a route for each transport and one for several calls."""
    fake.handles = {"pool-left": FakeHandle(), "pool-right": FakeHandle()}
    fake.seen = {"left", "right"}
    pools = the_pools(fake)

    assert await opened(pools, within_s=5)
    assert pools.ready
    taken = [(one["method_name"], one["_by_reference"]) for one in fake.handles["pool-left"].options_taken]
    assert taken == [("infer", False), ("infer", True), ("infer_many", False)]


async def test_an_empty_pool_is_not_waited_for_for_ever(fake: FakeServe) -> None:
    """After the time given, one pool with replicas is enough."""
    fake.handles = {"pool-left": FakeHandle(), "pool-right": FakeHandle()}
    fake.seen = {"left"}
    begun = time.monotonic()

    assert await opened(the_pools(fake), within_s=5)
    assert time.monotonic() - begun >= 0.2


async def test_a_missing_application_counts_as_an_empty_pool(fake: FakeServe) -> None:
    """A pool whose application is not there does not hold up the others, and is asked for again."""
    fake.handles = {"pool-left": FakeHandle()}
    fake.seen = {"left"}
    pools = the_pools(fake)

    assert await opened(pools, within_s=5)
    assert pools.ready


async def test_is_not_ready_without_any_replica(fake: FakeServe) -> None:
    """With nothing to call there is nothing to be ready for, however long that takes."""
    fake.handles = {"pool-left": FakeHandle(), "pool-right": FakeHandle()}
    pools = the_pools(fake)

    assert not await opened(pools, within_s=0.5)
    assert not pools.ready


async def test_replicas_of_an_earlier_client_do_not_count_without_a_handle(fake: FakeServe) -> None:
    """What the process knew before is no reason to be ready: calls need a handle."""
    fake.seen = {"left", "right"}

    assert not await opened(the_pools(fake), within_s=0.5)


async def test_finds_an_application_that_comes_later(fake: FakeServe) -> None:
    """An application that is deployed after its caller is found by asking again."""
    fake.seen = {"left"}
    pools = the_pools(fake)
    task = asyncio.create_task(pools.open(seen_timeout_s=0.1))
    await eventually(lambda: fake.asked >= 2)

    fake.handles["pool-left"] = FakeHandle()

    await asyncio.wait_for(task, 5)
    await pools.close()
