"""Counts what callers use, in memory, and reports it to `hub.usage` every few seconds.

Counting is one dictionary entry; nothing of a request ever waits for the log. What was counted and not yet in
the log is lost with a process that is killed: of at most `flush_s` and one append, or of the time for which
the broker has been away. What is in the log counts once, however often it was appended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from random import Random
from typing import Final, NoReturn

from deployments.front.reports import Reports
from messaging.ports import EventBus
from messaging.topics import USAGE
from models.metrics import Meter
from models.principal import Principal
from models.usage import Measure, UsageKey, UsageLine, UsageReport

FLUSH_S: Final = 5.0
LINES: Final = 500
"""Lines of one report."""
MOST_KEYS: Final = 50_000
"""Beyond so many different amounts new users are counted as their tenant."""
_LAST_S: Final = 2.0
_SECOND_NS: Final = 10**9
_DAY_NS: Final = 86_400 * _SECOND_NS


class UsageMeter:
    """`count` at any time, `run` as a task. `clock` is wall time in nanoseconds; `rng` names this start."""

    def __init__(
        self,
        bus: EventBus,
        *,
        name: str,
        clock: Callable[[], int],
        rng: Random,
        meter: Meter,
        flush_s: float = FLUSH_S,
    ) -> None:
        self._reports = Reports(bus, USAGE, name=name, rng=rng, meter=meter)
        self._clock = clock
        self._flush_s = flush_s
        self._counted: dict[UsageKey, int] = {}
        self._open: dict[tuple[Principal, str], tuple[int, int, int]] = {}
        self._day = (-1, date.min)

    def count(self, principal: Principal, feature: str, measure: Measure, amount: int = 1) -> None:
        """So much more was used. `feature` is one of a few names, never what a caller sent."""
        counted, tenant = self._counted, principal.tenant_id
        key = UsageKey(tenant, principal.user_id, self._today(), principal.tier.value, feature, measure)
        if key not in counted and len(counted) >= MOST_KEYS:
            key = key._replace(user_id="")
        counted[key] = counted.get(key, 0) + amount

    def opened(self, principal: Principal, feature: str) -> None:
        """The caller opened a socket; the time that it is open counts until `closed`."""
        self.count(principal, feature, Measure.SOCKETS)
        self._settle(principal, feature, more=1)

    def closed(self, principal: Principal, feature: str) -> None:
        """One of the caller's sockets is closed."""
        self._settle(principal, feature, more=-1)

    async def run(self) -> NoReturn:
        """Report until cancelled; at the end once more, as far as there is time for it."""
        try:
            while True:
                await asyncio.sleep(self._flush_s)
                await self.flush()
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_S):
                    await self.flush()

    async def close(self) -> None:
        """Give the producer back, once `run` has ended."""
        await self._reports.close()

    async def flush(self) -> bool:
        """Report what was counted; False if the log does not take it now, which is then tried again."""
        for principal, feature in list(self._open):
            self._settle(principal, feature)
        if not self._reports.waiting:
            self._report()
        return await self._reports.flush()

    def _settle(self, principal: Principal, feature: str, *, more: int = 0) -> None:
        """Count whole seconds of the caller's open sockets up to now; what is less is carried on."""
        now_ns = self._clock()
        sockets, since_ns, rest_ns = self._open.pop((principal, feature), (0, now_ns, 0))
        seconds, rest_ns = divmod(rest_ns + sockets * max(0, now_ns - since_ns), _SECOND_NS)
        self.count(principal, feature, Measure.SOCKET_SECONDS, seconds)
        if sockets + more > 0:
            self._open[principal, feature] = sockets + more, now_ns, rest_ns

    def _report(self) -> None:
        counted, self._counted = self._counted, {}
        lines = [UsageLine(**key._asdict(), amount=amount) for key, amount in counted.items() if amount > 0]
        for at in range(0, len(lines), LINES):
            self._put(lines[at : at + LINES])

    def _put(self, lines: Sequence[UsageLine]) -> None:
        source, number = self._reports.source, self._reports.number()
        self._reports.put(source, UsageReport(source=source, sequence=number, lines=tuple(lines)))

    def _today(self) -> date:
        number = self._clock() // _DAY_NS
        if number != self._day[0]:
            self._day = number, datetime.fromtimestamp(number * 86_400, UTC).date()
        return self._day[1]
