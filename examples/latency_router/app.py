"""Any Serve application whose callers choose the replica that will be done first: the marked lines do it.

From the hub's directory: `python examples/latency_router/app.py`.
"""

import asyncio

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

import models
import routing
from deployments.router.latency_router import latency_routing


@serve.deployment(
    num_replicas=3,
    max_ongoing_requests=16,
    request_router_config=latency_routing(),  # the one line
)
class Square:
    """Work that takes a moment."""

    async def square(self, number: int) -> int:
        await asyncio.sleep(0.02)
        return number * number


@serve.deployment
class Front:
    """Calls the work; it is here, in the caller's process, that a replica is chosen."""

    def __init__(self, work: DeploymentHandle[Square]) -> None:
        self._work = work

    async def squares(self, up_to: int) -> list[int]:
        return list(await asyncio.gather(*(self._work.square.remote(number) for number in range(up_to))))


def main() -> None:
    """Start it, ask it once, stop it."""
    ray.init(
        runtime_env={"py_modules": [models, routing]},  # what callers need on every node, and nothing else
        log_to_driver=False,
    )
    app = Front.bind(Square.bind())  # type: ignore[attr-defined]  # the decorator is declared to return the class
    front = serve.run(app, route_prefix=None)
    print(front.squares.remote(10).result())
    serve.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
