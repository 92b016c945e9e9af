"""The door before the decision: requests that have to wait sleep here until they are admitted or shed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from models.errors import DeadlineExpired, Shed
from models.forecast import LoadReport
from models.metrics import Meter
from models.request import Requirements
from routing.protection.admission import Admission, AdmissionConfig, Entry, State
from routing.protection.places import Places, PlacesConfig, Usage

_MEASURE_EVERY_NS: Final = 50_000_000
_INSIDE: Final = State.INSIDE


class AdmissionDoor:
    """`async with door.admitted(requirements) as stay:` around decision and call. Belongs to one event loop.

    Whoever gets a reply sets `stay.report` to what the replica said of its load: how many may be under way is
    learned from that. `usage` tells what the replicas have and hold; it is asked while requests come, at most
    every 50 ms.
    """

    def __init__(
        self,
        config: AdmissionConfig,
        *,
        usage: Callable[[int], Usage],
        clock: Callable[[], int],
        meter: Meter,
        places: PlacesConfig | None = None,
    ) -> None:
        self._usage = usage
        self._places = Places(places or PlacesConfig())
        self._clock = clock
        self._meter = meter
        self._core = Admission(config, places=1, settled=self._wake)
        self._measured_ns = -_MEASURE_EVERY_NS
        self._asleep: dict[Entry, asyncio.Future[None]] = {}

    @property
    def waiting(self) -> int:
        return self._core.waiting

    def admitted(self, wanted: Requirements) -> Stay:
        """Wait until the request may go, in the order that `routing/protection/admission.py` says. Raises
        Shed as soon as it cannot be in time.
        """
        return Stay(self, wanted)

    def enter(self, wanted: Requirements) -> Entry:
        """A place, or a place in the queue. Raises Shed."""
        now_ns = self._clock()
        if now_ns - self._measured_ns >= _MEASURE_EVERY_NS:
            self._measure(now_ns)
        try:
            return self._core.enter(wanted, now_ns=now_ns)
        except Shed as refusal:
            self._count(refusal)
            raise

    async def turn(self, entry: Entry) -> None:
        """Sleep until the request is inside. Raises Shed; cancelled, it leaves the queue or gives its place
        to the next.
        """
        begun_ns = self._clock()
        if entry.state is State.WAITING:
            await self._sleep(entry, begun_ns)
        if entry.refusal:
            self._count(entry.refusal)
            raise entry.refusal
        labels = {"priority": entry.wanted.priority.value}
        self._meter.observe("hub_admission_wait_ms", labels, (self._clock() - begun_ns) / 1e6)

    def leave(self, entry: Entry, report: LoadReport | None, error: BaseException | None) -> None:
        """The request is done; it teaches how long one takes unless something else than time ended it."""
        now_ns = self._clock()
        if report is not None:
            elapsed_ms = (now_ns - entry.inside_ns) / 1e6
            self._places.answered(
                elapsed_ms=elapsed_ms, queue_ms=report.queue_ms, service_ms=report.service_ms
            )
        measured = error is None or isinstance(error, DeadlineExpired)
        self._core.leave(entry, now_ns=now_ns, measured=measured)

    async def _sleep(self, entry: Entry, now_ns: int) -> None:
        loop = asyncio.get_running_loop()
        awake = self._asleep[entry] = loop.create_future()
        too_late_s = max(0.0, (self._core.latest_ns(entry) - now_ns) / 1e9)
        timer = loop.call_later(too_late_s, self._core.expire, entry)
        try:
            await awake
        except asyncio.CancelledError:
            self._core.leave(entry, now_ns=self._clock(), measured=False)
            raise
        finally:
            timer.cancel()
            del self._asleep[entry]

    def _wake(self, entry: Entry) -> None:
        """Called by the core for each that waited. One that is shed while it enters is not asleep yet."""
        awake = self._asleep.get(entry)
        if awake and not awake.done():
            awake.set_result(None)

    def _measure(self, now_ns: int) -> None:
        self._measured_ns = now_ns
        self._places.follow(self._usage(now_ns), inside=self._core.inside)
        self._core.resize(self._places.now, now_ns=now_ns)

    def _count(self, refusal: Shed) -> None:
        labels = {"priority": refusal.details["priority"], "reason": refusal.details["reason"]}
        self._meter.count("hub_shed_total", labels)


class Stay:
    """One request's time inside. `report` is what the replica that answered said of its load."""

    __slots__ = ("_door", "_entry", "_wanted", "report")

    def __init__(self, door: AdmissionDoor, wanted: Requirements) -> None:
        self._door = door
        self._wanted = wanted
        self.report: LoadReport | None = None

    async def __aenter__(self) -> Self:
        self._entry = entry = self._door.enter(self._wanted)
        if entry.state is not _INSIDE:
            await self._door.turn(entry)
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._door.leave(self._entry, self.report, error)
