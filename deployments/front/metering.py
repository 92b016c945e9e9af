"""Counts what callers use, in memory, and reports it to `hub.usage` every few seconds.

Counting is one dictionary entry; nothing of a request ever waits for the log. What was counted and not yet in
the log is lost with a process that is killed: of at most `flush_s` and one append, or of the time for which
the broker has been away. What is in the log counts once, however often it was appended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from random import Random
from typing import Final, NoReturn

from messaging.ports import EventBus, Producer, Record
from messaging.topics import USAGE
from models.errors import AppendNotSent, MessagingError
from models.metrics import Meter
from models.principal import Principal
from models.usage import Measure, UsageKey, UsageLine, UsageReport

_LOG: Final = logging.getLogger(__name__)

FLUSH_S: Final = 5.0
LINES: Final = 500
"""Lines of one report."""
MOST_KEYS: Final = 50_000
"""Beyond so many different amounts new users are counted as their tenant."""
_APPEND_S: Final = 5.0
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
        self._bus = bus
        self._source = f"{name[:80]}-{rng.randbytes(8).hex()}"
        self._clock = clock
        self._meter = meter
        self._flush_s = flush_s
        self._counted: dict[UsageKey, int] = {}
        self._open: dict[tuple[Principal, str], tuple[int, int, int]] = {}
        self._unsent: list[UsageReport] = []
        self._sequence = 0
        self._day = (-1, date.min)
        self._producer: Producer | None = None

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
        if self._producer:
            await self._producer.close()

    async def flush(self) -> bool:
        """Report what was counted; False if the log does not take it now, which is then tried again."""
        for principal, feature in list(self._open):
            self._settle(principal, feature)
        if not self._unsent:
            self._unsent = self._reports()
        try:
            while self._unsent:
                await self._append(self._unsent[0])
                del self._unsent[0]
        except MessagingError as error:
            _LOG.warning("usage waits to be reported: %s", error.message)
            self._say("waiting")
            return False
        return True

    def _settle(self, principal: Principal, feature: str, *, more: int = 0) -> None:
        """Count whole seconds of the caller's open sockets up to now; what is less is carried on."""
        now_ns = self._clock()
        sockets, since_ns, rest_ns = self._open.pop((principal, feature), (0, now_ns, 0))
        seconds, rest_ns = divmod(rest_ns + sockets * max(0, now_ns - since_ns), _SECOND_NS)
        self.count(principal, feature, Measure.SOCKET_SECONDS, seconds)
        if sockets + more > 0:
            self._open[principal, feature] = sockets + more, now_ns, rest_ns

    def _reports(self) -> list[UsageReport]:
        counted, self._counted = self._counted, {}
        lines = [UsageLine(**key._asdict(), amount=amount) for key, amount in counted.items() if amount > 0]
        return [self._report(lines[at : at + LINES]) for at in range(0, len(lines), LINES)]

    def _report(self, lines: Sequence[UsageLine]) -> UsageReport:
        self._sequence += 1
        return UsageReport(source=self._source, sequence=self._sequence, lines=tuple(lines))

    async def _append(self, report: UsageReport) -> None:
        """One at a time and in order: a report that may be in the log is sent again before the next one."""
        if self._producer is None:
            self._producer = await self._bus.producer("usage")
        record = Record(report.source.encode(), report.model_dump_json(by_alias=True).encode())
        try:
            await self._producer.append(USAGE.name, 0, [record], timeout_s=_APPEND_S)
        except AppendNotSent:
            raise
        except MessagingError:
            await self._producer.rebuild()
            raise
        self._say("reported")

    def _today(self) -> date:
        number = self._clock() // _DAY_NS
        if number != self._day[0]:
            self._day = number, datetime.fromtimestamp(number * 86_400, UTC).date()
        return self._day[1]

    def _say(self, outcome: str) -> None:
        self._meter.count("hub_usage_reports_total", {"outcome": outcome})
