"""A pool that scales between bounds, and a load on it that takes a step: who answered, and when."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from ray import serve
from ray.serve import Application

from deployments.pool.config import PoolConfig
from deployments.pool.deployment import serve_options
from models.card import ModelCard
from models.errors import DeadlineExpired, NothingFeasible, Shed
from tests.serve.client import Client
from tests.serve.replicas import ScriptedModel, ScriptedReplica, a_window
from tests.support.arrivals import next_arrival
from tests.support.cards import a_card

SERVICE_S: Final = 0.15
WITHIN_S: Final = 3.0


def card_of(pool: str) -> ModelCard:
    """The one model of the pool. It bears its name, so that no other pool of the process answers for it."""
    return a_card(pool, warm_ms=SERVICE_S * 1e3)


class GrowingReplica(ScriptedReplica):
    """Holds the one model of its pool."""

    def load(self, config: PoolConfig) -> list[Any]:
        return [ScriptedModel(card_of(config.name))]


def growing_pool(config: PoolConfig, **options: Any) -> Application:
    """A pool with the shipped options, or others in their place."""
    return serve.deployment(**{**serve_options(config), **options})(GrowingReplica).bind(config)


def by_target(config: PoolConfig, target: float) -> Application:
    """The pool with Serve's own rule, between the same bounds and with the same delays."""
    scaling = {**serve_options(config)["autoscaling_config"], "target_ongoing_requests": target}
    del scaling["policy"]
    return growing_pool(config, autoscaling_config=scaling)


def build(said: dict[str, Any]) -> Application:
    """The pool as a configuration file names it; left to itself it would never grow."""
    return by_target(PoolConfig.model_validate(said), target=1e3)


@dataclass
class Load:
    """Routed calls, `rate` a second, whatever became of those before. A call may be refused because
    no place is free in time; any other failure ends the load.
    """

    client: Client
    rate: float
    begun_s: float = field(default_factory=time.monotonic)
    answers: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since the load began, and the process that answered."""
    refused_s: list[float] = field(default_factory=list)

    async def offer(self) -> None:
        """Call until the rate is 0 and every call has ended."""
        async with asyncio.TaskGroup() as calls:
            while self.rate > 0:
                calls.create_task(self._call())
                await next_arrival(self.rate)

    def now_s(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self.begun_s

    def second_served_s(self) -> float:
        """When a process other than the first one answered; 0 while none has."""
        return next((at_s for at_s, process in self.answers if process != self.answers[0][1]), 0.0)

    def refused_since(self, since_s: float) -> int:
        """How many calls were refused since then."""
        return sum(at_s > since_s for at_s in self.refused_s)

    def longest_pause_s(self) -> float:
        """The longest time without an answer."""
        times = [at_s for at_s, _ in self.answers]
        return max(later - earlier for earlier, later in pairwise(times))

    async def _call(self) -> None:
        try:
            answer = await self.client.infer(a_window(sleep_s=SERVICE_S), within_s=WITHIN_S)
        except (Shed, NothingFeasible, DeadlineExpired):
            self.refused_s.append(self.now_s())
        else:
            self.answers.append((self.now_s(), int(answer.forecasts[0].q50)))
