"""The topics of user events on their way into the database, side by side, and how far each has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import NoReturn

from deployments.control.user_data.intake import IntakeWires, TopicIntake
from deployments.control.user_data.upkeep import UserDataUpkeep
from messaging.ports import EventBus
from models.base import Frozen
from models.metrics import Meter
from models.retention import RetentionPolicy
from models.user_event import EVENT_KINDS, DataType
from storage.postgres.database import Database


class TopicStanding(Frozen):
    """How one topic stands in this replica. Another replica may be moving what this one stands by for.

    All that was written until `behind_s` seconds ago is in the database; `moved` counts records by what
    became of them since this replica started.
    """

    topic: str
    data_type: DataType
    state: str
    behind_s: float | None
    moved: dict[str, int]


class UserDataMover:
    """`run` as a task; it ends for nothing but a defect."""

    def __init__(
        self,
        database: Database,
        bus: EventBus,
        policy: RetentionPolicy | None,
        *,
        meter: Meter,
        clock: Callable[[], int],
        rng: Random,
    ) -> None:
        turn = asyncio.Lock()
        wires = IntakeWires(database=database, bus=bus, meter=meter, clock=clock, rng=rng, turn=turn)
        self._intakes = [TopicIntake(data_type, wires) for data_type in DataType]
        self._upkeep = UserDataUpkeep(database, policy, clock=clock, rng=rng)

    async def run(self) -> NoReturn:
        """Move all topics and keep the partitions, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for intake in self._intakes:
                tasks.create_task(intake.run())
            await self._upkeep.run()

    async def close(self) -> None:
        """Nothing is held: what was not moved is moved by whoever comes next."""

    def standings(self) -> list[TopicStanding]:
        """How each topic stands."""
        return [
            TopicStanding(
                topic=EVENT_KINDS[one.data_type].topic,
                data_type=one.data_type,
                state=one.state,
                behind_s=one.behind_s,
                moved=dict(one.moved),
            )
            for one in self._intakes
        ]
