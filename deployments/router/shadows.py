"""Shadow calls: a request that is decided and called a second time, to see how another profile does.

Nobody waits for them and their answers are thrown away. They are the first to give way: they count as bulk,
and of more than a few at once the rest is not made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from deployments.router.calls import Work
from models.errors import HubError
from models.outcome import Assignment
from models.request import Priority

log = logging.getLogger("ray.serve")

AT_ONCE: Final = 4


class Shadows:
    """The shadow calls of one process. Belongs to one event loop."""

    def __init__(self) -> None:
        self._out: set[asyncio.Task[None]] = set()

    def cast(
        self, work: Work, assignment: Assignment, route: Callable[[Work, Assignment], Awaitable[object]]
    ) -> None:
        """Route the work a second time in the background, unless enough is out already."""
        if len(self._out) < AT_ONCE:
            least = work.requirements.model_copy(update={"priority": Priority.BULK})
            task = asyncio.create_task(_routed(replace(work, requirements=least), assignment, route))
            self._out.add(task)
            task.add_done_callback(self._out.discard)


async def _routed(
    work: Work, assignment: Assignment, route: Callable[[Work, Assignment], Awaitable[object]]
) -> None:
    try:
        await route(work, assignment)
    except HubError as error:
        log.debug("shadow call of %s: %s", assignment.experiment, error.message)
