"""Notes who was denied what, and reports it on `hub.denials`, on its way to the audit log of the tenant.

A request never waits for it, and who is denied the same thing a thousand times a minute fills no log: the
first time is reported at once, the others together, once a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from random import Random
from typing import Final, NamedTuple, NoReturn

from deployments.front.reports import Reports
from messaging.ports import EventBus
from messaging.topics import DENIALS
from models.audit import Denial, DenialReport
from models.metrics import Meter
from models.principal import Principal

FLUSH_S: Final = 2.0
AGAIN_S: Final = 60.0
MOST_KEYS: Final = 500
"""Of one tenant at a time. What is denied beyond that is noted without user and object."""
LINES: Final = 500
_LONGEST: Final = 512
_LAST_S: Final = 2.0


class _Key(NamedTuple):
    tenant_id: str
    user_id: str
    action: str
    object: str


class _Noted:
    """How often since the last report, when first, and when that report was."""

    __slots__ = ("since_ns", "times", "told_s")

    def __init__(self) -> None:
        self.times, self.since_ns, self.told_s = 0, 0, -AGAIN_S


class DenialLog:
    """`note` at any time, `run` as a task. `clock` is wall time in nanoseconds, `monotonic` in seconds; `rng`
    names this start of the process.
    """

    def __init__(
        self,
        bus: EventBus,
        *,
        name: str,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
        rng: Random,
        meter: Meter,
    ) -> None:
        self._reports = Reports(bus, DENIALS, name=name, rng=rng, meter=meter)
        self._clock = clock
        self._monotonic = monotonic
        self._noted: dict[_Key, _Noted] = {}
        self._of_tenant: Counter[str] = Counter()

    def note(self, caller: Principal, action: str, what: str) -> None:
        """The caller, whose credentials are good, was denied this."""
        readable = what[:_LONGEST].encode(errors="replace").decode()  # half a character fits no report
        key = _Key(caller.tenant_id, caller.user_id, action, readable)
        if key not in self._noted and self._of_tenant[caller.tenant_id] >= MOST_KEYS:
            key = _Key(caller.tenant_id, "", action, "")
        noted = self._noted.get(key)
        if noted is None:
            noted = self._noted[key] = _Noted()
            self._of_tenant[caller.tenant_id] += 1
        if not noted.times:
            noted.since_ns = self._clock()
        noted.times += 1

    async def run(self) -> NoReturn:
        """Report until cancelled; at the end once more, as far as there is time for it."""
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                await self.flush()
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_S):
                    await self.flush(last=True)

    async def flush(self, *, last: bool = False) -> bool:
        """Report what is due, or at the `last` all; False if the log does not take it now, which is then
        tried again.
        """
        if not self._reports.waiting:
            self._report(last=last)
        return await self._reports.flush()

    async def close(self) -> None:
        """Give the producer back, once `run` has ended."""
        await self._reports.close()

    def _report(self, *, last: bool) -> None:
        found = sorted(self._due(last=last))
        for tenant_id, of_tenant in groupby(found, key=lambda one: one[0]):
            denials = [denial for _, _, denial in of_tenant]
            for at in range(0, len(denials), LINES):
                self._put(tenant_id, denials[at : at + LINES])

    def _put(self, tenant_id: str, denials: Sequence[Denial]) -> None:
        source, number = self._reports.source, self._reports.number()
        said = sorted(denials, key=attrgetter("at_ns"))
        report = DenialReport(source=source, sequence=number, tenant_id=tenant_id, denials=tuple(said))
        self._reports.put(tenant_id, report)

    def _due(self, *, last: bool) -> Iterator[tuple[str, int, Denial]]:
        """What is to be reported now; what was not denied again for a minute is forgotten."""
        now_s = self._monotonic()
        for number, (key, noted) in enumerate(list(self._noted.items())):
            if not last and now_s - noted.told_s < AGAIN_S:
                continue
            if noted.times:
                said = Denial(
                    user_id=key.user_id,
                    action=key.action,
                    object=key.object,
                    at_ns=noted.since_ns,
                    times=noted.times,
                )
                noted.times, noted.told_s = 0, now_s
                yield key.tenant_id, number, said
            else:
                self._forget(key)

    def _forget(self, key: _Key) -> None:
        del self._noted[key]
        self._of_tenant[key.tenant_id] -= 1
        if not self._of_tenant[key.tenant_id]:
            del self._of_tenant[key.tenant_id]
