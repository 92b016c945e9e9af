"""The ways of choosing a replica: ours, and those that come with Ray, each noting what it picks.

Scaling is played to the routers: every replica runs from the start, and they are shown few of them at first.
Starting processes in the middle of a run would measure who gets the processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ray.serve._private.common import ReplicaID
from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter
from ray.serve.config import DeploymentActorConfig, RequestRouterConfig
from ray.serve.experimental.capacity_queue import CapacityQueue
from ray.serve.experimental.capacity_queue_router import CapacityQueueRouter
from ray.serve.experimental.round_robin_router import RoundRobinRouter
from ray.serve.request_router import RequestRouter, RunningReplica

from benchmarks.serve_pool import sight
from deployments.router.latency_router import LatencyRouter

_QUEUE: Final = "capacity_queue"


class Observed(RequestRouter):
    """Mixed into a router: notes its picks, and shows it as many replicas as the cell wants."""

    def initialize_state(self, **kwargs: Any) -> None:
        super().initialize_state(**kwargs)  # type: ignore[no-untyped-call]
        self._listed: Sequence[RunningReplica] = []
        sight.watches(self)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        self._listed = replicas
        super().update_replicas(sorted(replicas, key=_name)[: sight.shown()])

    def look_again(self) -> None:
        """The number of replicas to be seen has changed."""
        self.update_replicas(list(self._listed))

    def on_send_request(self, replica_id: ReplicaID) -> None:
        super().on_send_request(replica_id)
        sight.picked(self.app_name, replica_id.unique_id)


class Ours(Observed, LatencyRouter):
    """The router under test."""


class Default(Observed, PowerOfTwoChoicesRequestRouter):
    """What Serve does by default."""


class RoundRobin(Observed, RoundRobinRouter):
    """One replica after the other."""


class CapacityQueueTokens(Observed, CapacityQueueRouter):
    """Tokens handed out by one actor for the least loaded replica."""


ROUTERS: Final[dict[str, type[RequestRouter]]] = {
    "ours": Ours,
    "default": Default,
    "default_again": Default,
    "round_robin": RoundRobin,
    "capacity_queue": CapacityQueueTokens,
}


def routing(pool: str) -> dict[str, Any]:
    """Options of a deployment whose callers choose in the way that the pool is named for."""
    wants_queue = pool == _QUEUE
    kwargs = {"capacity_queue_actor_name": _QUEUE} if wants_queue else {}
    config = RequestRouterConfig(
        request_router_class=ROUTERS[pool],  # type: ignore[arg-type]  # declared too narrowly
        request_router_kwargs=kwargs,
    )
    actors = {"deployment_actors": [_queue_actor()]} if wants_queue else {}
    return {"request_router_config": config, **actors}


def _queue_actor() -> DeploymentActorConfig:
    return DeploymentActorConfig(
        name=_QUEUE,
        actor_class=CapacityQueue,
        init_kwargs={"acquire_timeout_s": 0.5, "token_ttl_s": 30.0},
        actor_options={"num_cpus": 0.05},
    )


def _name(replica: RunningReplica) -> str:
    return replica.replica_id.unique_id
