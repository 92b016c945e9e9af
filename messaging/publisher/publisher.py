"""`Publisher`: two lanes, so that bulk never stands before critical."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import Field

from messaging.ports import EventBus, Record
from messaging.publisher.lane import Lane, LaneHealth
from messaging.publisher.queues import Place, QueueLimits
from models.base import Frozen
from models.metrics import Meter
from models.request import Priority

GRACE_S: Final = 1.0
"""With the five seconds of a hard close this keeps a stop within its bound."""


class PublisherConfig(Frozen):
    """`limits` hold for each lane. On closing, what waits is sent for `grace_s` at most."""

    limits: QueueLimits = QueueLimits()
    grace_s: Annotated[float, Field(ge=0)] = GRACE_S


class Publisher:
    """Publishes each record by its own deadline. Open with `Publisher.open`, end with `close`."""

    def __init__(self, lanes: Mapping[Priority, Lane], config: PublisherConfig) -> None:
        self._lanes = lanes
        self._config = config

    @classmethod
    async def open(
        cls, bus: EventBus, *, name: str, meter: Meter, config: PublisherConfig | None = None
    ) -> Self:
        """Connect a producer for each lane. Raises BrokerUnavailable."""
        config = config or PublisherConfig()
        lanes = {}
        for priority in Priority:
            lane = f"{name}-{priority}"
            lanes[priority] = Lane(bus, await bus.producer(lane), config.limits, name=lane, meter=meter)
        return cls(lanes, config)

    async def publish(
        self,
        tenant: str,
        place: Place,
        record: Record,
        *,
        timeout_s: float,
        priority: Priority = Priority.BULK,
    ) -> int:
        """Write one record and return its offset, within `timeout_s`.

        AppendRefused (AppendNotSent, QueueFull) says that nothing was written, nor will be; AppendUnknown
        that it may be in the log, now or later: publish it again only if a second copy does no harm. To a
        caller that is cancelled the outcome is unknown. Records of one tenant, place and priority keep the
        order of the calls. Those that wait for one place go together, tenants in turn.
        """
        return await self._lanes[priority].publish(tenant, place, record, timeout_s=timeout_s)

    def health(self) -> Mapping[Priority, LaneHealth]:
        """How each lane is doing."""
        return {priority: lane.health() for priority, lane in self._lanes.items()}

    async def close(self) -> None:
        """Bounded stop (<= 5 s); nothing is sent later."""
        await asyncio.gather(*(lane.close(self._config.grace_s) for lane in self._lanes.values()))
