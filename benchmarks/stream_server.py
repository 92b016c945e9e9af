"""The shipped stream on Ray Serve with direct ingress, in a process of its own, for `stream.py`.

Direct ingress: clients connect to the replica's own port, with no proxy in between. Serve reads the switch
when it is imported, so it is set first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import urllib.request
from typing import Final

os.environ |= {
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
}

import ray
from ray import serve
from ray.serve.config import HTTPOptions

from benchmarks.child import commands, say
from deployments.front.limits import load_tiers
from deployments.front.tokens import LocalTokens
from deployments.stream.config import StreamConfig
from deployments.stream.deployment import ROUTE, build_stream
from messaging.config import KafkaConfig
from models.secret import SecretRef
from serve_app.launch import free_port
from serve_app.settings import read_text
from storage.redis_store import RedisConfig

_FIRST_PORT: Final = int(os.environ.get("RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT", "30000"))
_PORTS: Final = 50


async def main() -> None:
    """Serve until the parent closes the pipe; ready with the address of the replica."""
    parser = argparse.ArgumentParser()
    for name in ("kafka", "redis", "secret"):
        parser.add_argument(name)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hub-ray-", dir="/tmp") as directory:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, _temp_dir=directory)
        try:
            serve.start(http_options=HTTPOptions(host="127.0.0.1", port=free_port()))
            config = StreamConfig(
                kafka=KafkaConfig(bootstrap=asked.kafka, fetch_max_wait_ms=50),
                redis=RedisConfig(url=asked.redis),
                tokens=LocalTokens(secret=SecretRef(file=asked.secret)),
                tiers=load_tiers(read_text("config/tiers.yaml")),
                num_cpus=0,
            )
            serve.run(build_stream(config), name="stream", route_prefix=ROUTE)
            say({"url": f"ws://127.0.0.1:{_replica_port()}{ROUTE}"})
            async for _ in commands():
                say({})
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()


def _replica_port() -> int:
    """The first port of the range behind which the stream says that it is served."""
    for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/routes", timeout=2) as answer:
                if ROUTE in json.load(answer):
                    return port
        except OSError:
            continue
    raise RuntimeError(f"no replica of the stream on ports {_FIRST_PORT} to {_FIRST_PORT + _PORTS}")


if __name__ == "__main__":
    asyncio.run(main())
