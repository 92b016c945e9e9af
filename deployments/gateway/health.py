"""Whether this gateway may be sent requests, and how everything it leans on is doing.

Ready means: every pool's replicas were seen, the catalogue was read to its end and is not empty, and the
broker answered. The last is asked until it is true once: a gateway whose broker goes away later still routes,
on what it knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from messaging.ports import EventBus, TopicState
from messaging.topics import TOPICS
from models.base import Frozen
from models.errors import HubError
from models.halt import Halt

CHECK_TIMEOUT_S: Final = 2.0


class Status(StrEnum):
    """`degraded`: at least one thing is away; the checks say which."""

    OK = "ok"
    DEGRADED = "degraded"


class Check(Frozen):
    """How one thing is doing; `detail` is a code or a short note, never an address or a secret."""

    status: Status
    detail: str = ""


class HealthReport(Frozen):
    """The answer of `GET /health`; `halts` are those in force that concern the caller, for admins all."""

    status: Status
    ready: bool
    checks: dict[str, Check]
    halts: tuple[Halt, ...] = ()


class TopicHealth(Frozen):
    """Whether a topic of the contract is on the broker with the right number of partitions."""

    status: Status
    partitions: int | None
    expected_partitions: int


class TopicsReport(Frozen):
    """The answer of `GET /api/health/kafka/topics`."""

    status: Status
    topics: dict[str, TopicHealth]


Probe = Callable[[], Awaitable[str]]
"""Returns a note if all is well, raises a HubError if not."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What has to have been seen before the first request; each is asked on every call."""

    pools_seen: Callable[[], bool]
    catalogue_read: Callable[[], bool]


class Health:
    """Asks the probes, all at once and each for at most two seconds."""

    def __init__(self, *, bus: EventBus, readiness: Readiness, probes: Mapping[str, Probe]) -> None:
        self._bus = bus
        self._readiness = readiness
        self._probes = probes
        self._broker_answered = False
        self._asking = asyncio.Lock()

    async def ready(self) -> bool:
        """Whether requests may come."""
        if not (self._readiness.pools_seen() and self._readiness.catalogue_read()):
            return False
        async with self._asking:
            self._broker_answered = self._broker_answered or await self._ping()
        return self._broker_answered

    async def report(self) -> HealthReport:
        """Every probe's answer."""
        checks = await asyncio.gather(*(_checked(probe) for probe in self._probes.values()))
        return HealthReport(
            status=_worst(check.status for check in checks),
            ready=await self.ready(),
            checks=dict(zip(self._probes, checks, strict=True)),
        )

    async def topics(self) -> TopicsReport:
        """The topics of the contract against those of the broker."""
        states = await self._bus.topics()
        topics = {topic.name: _topic_health(states.get(topic.name), topic.partitions) for topic in TOPICS}
        return TopicsReport(status=_worst(topic.status for topic in topics.values()), topics=topics)

    async def _ping(self) -> bool:
        try:
            await self._bus.ping(timeout_s=CHECK_TIMEOUT_S)
        except HubError:
            return False
        return True


async def _checked(probe: Probe) -> Check:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return Check(status=Status.OK, detail=await probe())
    except HubError as error:
        return Check(status=Status.DEGRADED, detail=error.code)
    except TimeoutError:
        return Check(status=Status.DEGRADED, detail="timeout")


def _topic_health(state: TopicState | None, expected: int) -> TopicHealth:
    partitions = state.partitions if state else None
    status = Status.OK if partitions == expected else Status.DEGRADED
    return TopicHealth(status=status, partitions=partitions, expected_partitions=expected)


def _worst(statuses: Iterable[Status]) -> Status:
    return Status.DEGRADED if Status.DEGRADED in set(statuses) else Status.OK
