"""The pools as Serve applications: what their replicas do, and how their callers choose."""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve import Application

from benchmarks.serve_pool.cells import MODEL_REPLICAS, REPLICAS
from benchmarks.serve_pool.replica import CAPACITY, ModelReplica, SleepingReplica
from benchmarks.serve_pool.routers import routing
from serve_app.settings import load_settings, resolved


def application(pool: str, *, model: str | None) -> Application:
    """A pool whose replicas run the model of the repository, or sleep if none is given."""
    options: dict[str, Any] = {
        "num_replicas": MODEL_REPLICAS if model else REPLICAS,
        "max_ongoing_requests": CAPACITY,
        "ray_actor_options": {"num_cpus": 0.05},
        "logging_config": {"enable_access_log": False, "log_level": "ERROR"},
        **routing(pool),
    }
    if model is None:
        return serve.deployment(**options)(SleepingReplica).bind()
    repository = str(resolved(load_settings().repository))
    return serve.deployment(**options)(ModelReplica).bind(repository, model)
