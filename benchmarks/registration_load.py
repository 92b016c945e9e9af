"""Callers that ask a running hub for inference on a fixed schedule, whatever becomes of the earlier ones.

Told `take`, it answers with the milliseconds that answers took since their place in the schedule, and with
how many requests failed and how, since the last time.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from typing import Any, Final

import httpx2

from benchmarks.child import commands, run, say

PER_S: Final = 40
REQUEST: Final = {
    "task": "time_series_forecast",
    "max_latency_ms": 2000,
    "inputs": {"window": [[0.0001, -0.0001] * 128], "context": [[0.0] * 8]},
}


class Callers:
    """What came of the requests since they were last asked about."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http
        self._times_ms: list[float] = []
        self._failed: Counter[str] = Counter()

    async def ask_on(self) -> None:
        """Ask for ever."""
        due = time.perf_counter()
        async with asyncio.TaskGroup() as requests:
            while True:
                due += 1 / PER_S
                await asyncio.sleep(due - time.perf_counter())
                requests.create_task(self._ask(due))

    async def _ask(self, due: float) -> None:
        try:
            answer = await self._http.post("/api/v1/infer", json=REQUEST)
        except httpx2.TransportError as error:
            self._failed[type(error).__name__] += 1
            return
        if answer.is_success:
            self._times_ms.append((time.perf_counter() - due) * 1e3)
        else:
            self._failed[answer.json().get("code", str(answer.status_code))] += 1

    def take(self) -> dict[str, Any]:
        """And begin anew."""
        taken = {"times_ms": self._times_ms, "failed": dict(self._failed)}
        self._times_ms, self._failed = [], Counter()
        return taken


async def main() -> None:
    """Ask until the parent closes the pipe."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registration_load", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("token")
    options = parser.parse_args()
    headers = {"authorization": f"Bearer {options.token}"}
    async with httpx2.AsyncClient(base_url=options.url, headers=headers, timeout=30.0) as http:
        callers = Callers(http)
        asking = asyncio.create_task(callers.ask_on())
        say({"ready": True})
        async for _ in commands():
            say(callers.take())
        asking.cancel()


if __name__ == "__main__":
    run(main())
