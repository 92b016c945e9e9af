"""Virtual time: instant, ordered, and honest about a program that can never go on."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.virtual_loop import Stalled, run_virtual


def test_sleeping_costs_no_time_and_keeps_its_order() -> None:
    """An hour of three sleepers passes at once, in the order of their alarms."""
    began = time.monotonic()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((name, asyncio.get_running_loop().time()))

    async def main() -> None:
        await asyncio.gather(sleeper("c", 3600), sleeper("a", 0.5), sleeper("b", 60))

    run_virtual(main())

    assert woken == [("a", 0.5), ("b", 60.0), ("c", 3600.0)]
    assert time.monotonic() - began < 5


def test_timeouts_fire_on_virtual_time() -> None:
    """A deadline passes when everybody waits, not when a processor is slow."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 30.0


def test_a_program_that_waits_for_nothing_is_an_error() -> None:
    """Instead of a test that hangs."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stalled, match="nobody will do"):
        run_virtual(main())
