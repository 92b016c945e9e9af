"""The pool as a Serve application: loads the models, then hands every call to the worker."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any

from ray import serve
from ray.serve import Application

from deployments.pool.config import PoolConfig
from deployments.pool.demand import Demand
from deployments.pool.on_demand import OnDemand
from deployments.pool.placement import Seat
from deployments.pool.registered import Registered
from deployments.router.execution.batching import LoadedModel
from deployments.router.execution.loading import load_models
from deployments.router.execution.slots import Slots
from deployments.router.execution.worker import InferenceWorker
from deployments.router.late_meter import LateMeter
from deployments.router.meter import RayMeter
from deployments.router.names import pool_app
from deployments.router.replies import Reply
from deployments.router.scaling import POOL_POLICY
from deployments.router.ticket_router import ticket_routing
from models.decision import Ticket
from models.forecast import InferCall
from models.garbage import spare_collections
from models.ids import random_id


class InferenceReplica:
    """One replica of a pool: several models in one process, behind one bounded queue."""

    def __init__(self, config: PoolConfig) -> None:
        self._meter = LateMeter(RayMeter())
        self._worker = InferenceWorker(
            replica=serve.get_replica_context().replica_id.unique_id,
            boot=random_id(SystemRandom()),
            models=self.load(config),
            slots=Slots(slots=config.slots, max_queue=config.max_queue),
            clock=time.time_ns,
            meter=self._meter,
            batch_rows=config.batch_rows if config.batch else 0,
        )
        self._said = self._worker.metadata(pool=config.name, hardware=config.hardware)
        self._demand = Demand(slots=config.slots, clock=time.time_ns)
        self._registered = Registered(
            config.registered,
            self._worker,
            pool=config.name,
            seat=_seat,
            most_waiting=config.max_queue,
            meter=self._meter,
        )
        self._calls = OnDemand(self._worker, lambda: self._registered.shelf)
        spare_collections()

    def load(self, config: PoolConfig) -> Sequence[LoadedModel]:
        """The models this replica holds."""
        return load_models(Path(config.repository), config.models)

    async def infer(self, call: InferCall, ticket: Ticket | None = None) -> Reply:
        """Forecasts of the call, or a refusal that says why there are none; either carries the load."""
        reply = await self._calls.infer(call, ticket)
        self._demand.ended(reply, call.deadline_ns)
        return reply

    async def infer_many(self, calls: Sequence[InferCall], ticket: Ticket | None = None) -> list[Reply]:
        """One reply per call; calls for the same model may run as one."""
        replies = await self._calls.infer_many(calls, ticket)
        for call, reply in zip(calls, replies, strict=True):
            self._demand.ended(reply, call.deadline_ns)
        return replies

    async def check_health(self) -> None:
        """Run a tiny inference; Serve replaces a replica that fails it three times."""
        self._registered.check()
        await self._worker.check()

    async def process(self) -> dict[str, Any]:
        """Which process of its node this replica is, for those who operate or test the machine."""
        return {"replica": serve.get_replica_context().replica_id.unique_id, "pid": os.getpid()}

    def record_replica_metadata(self) -> dict[str, Any]:
        """What routers learn of this replica before its first answer; delivered by Serve, once."""
        return self._said

    def record_routing_stats(self) -> dict[str, Any]:
        """What routers learn of this replica since: the models it was given at run time."""
        return self._registered.said()

    async def __del__(self) -> None:
        """Let go of the broker, and tell what was measured last."""
        await self._registered.close()
        self._meter.flush()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What the autoscaling policy judges by; Serve asks several times a look-back period."""
        return self._demand.stats()


def _seat() -> Seat:
    """Serve has a rank for a replica from its start on, but for a moment in the middle of it."""
    context = serve.get_replica_context()
    rank: Any = context.rank
    return Seat(rank.rank if rank else None, context.world_size)


def build_pool(config: PoolConfig) -> Application:
    """The deployment `pool-<name>`; bind it beside its callers, or run it as an application of that name."""
    return serve.deployment(**serve_options(config))(InferenceReplica).bind(config)


def serve_options(config: PoolConfig) -> dict[str, Any]:
    """How Serve runs the pool's replicas and routes calls to them."""
    return {
        "name": pool_app(config.name),
        **_replicas(config),
        "max_ongoing_requests": config.max_ongoing,
        "ray_actor_options": {"num_cpus": config.num_cpus},
        "request_router_config": ticket_routing(config.name),
        "health_check_period_s": config.health_period_s,
        "health_check_timeout_s": config.health_timeout_s,
        "graceful_shutdown_timeout_s": config.shutdown_s,
        "graceful_shutdown_wait_loop_s": 0.2,
    }


def _replicas(config: PoolConfig) -> dict[str, Any]:
    """A fixed number of replicas, or bounds with our own policy between them."""
    if config.max_replicas is None:
        return {"num_replicas": config.replicas}
    return {
        "autoscaling_config": {
            "min_replicas": config.replicas,
            "initial_replicas": config.replicas,
            "max_replicas": config.max_replicas,
            "policy": {"policy_function": POOL_POLICY},
            "look_back_period_s": config.look_back_s,
            "upscale_delay_s": config.upscale_delay_s,
            "downscale_delay_s": config.downscale_delay_s,
        }
    }
