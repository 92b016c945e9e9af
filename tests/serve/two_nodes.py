"""The signal path on two Ray nodes, one killed midway: `python -m tests.serve.two_nodes DIRECTORY`.

A program of its own, because a process can be a client of one Ray only. It leaves `result.json`.

The head keeps gateway and registry; forecaster, fan-out and pool have a replica on each node. What goes down
with the worker node is taken over by what is left on the head.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import ray
import yaml
from ray import serve
from ray.cluster_utils import Cluster
from ray.exceptions import RayError

from deployments.front.subscriptions import SubscriptionWriter
from messaging.connect import open_bus, open_feed
from messaging.topics import PREDICTIONS, SIGNALS
from models.task import WINDOW
from serve_app.demo.auditor import Auditor
from serve_app.demo.scene import EXAMPLE_TICKS, DemoOptions, Scene
from serve_app.hub import LocalHub
from serve_app.launch import free_port, local_settings, topics_ready
from serve_app.local_stack import LocalStack
from serve_app.playback import Progress, history, play, seed_history
from serve_app.settings import HubSettings, PoolSettings
from serve_app.wiring import APP
from tests.support.demo_users import made_up_users
from tests.support.eventually import eventually

TICKS: Final = (*EXAMPLE_TICKS, EXAMPLE_TICKS[0].replace("EURUSD=", "AUDUSD="))
"""EURUSD and NZDUSD are in odd partitions, AUDUSD is in an even one: each node owns symbols. No model serves
AUDUSD, so its slots are refused; they have to be accounted for all the same.
"""
OPTIONS: Final = DemoOptions(seconds=32, users=20, speed=10, ticks=TICKS)
KILL_AFTER_S: Final = 8.0
NODE: Final[dict[str, Any]] = {"num_cpus": 4, "object_store_memory": 128 << 20}
ON_HEAD: Final = {"num_cpus": 0.1, "resources": {"head": 0.01}}
EVERYTHING: Final = {
    "Fanout": [list(range(SIGNALS.partitions))],
    "Forecaster": [list(range(PREDICTIONS.partitions))],
}
"""What the owners have when there is one replica of each left."""
LIGHT: Final = PoolSettings(
    name="light", models=("naive", "reversal", "ridge", "logit", "mlp", "lightgbm"), replicas=2
)


class TwoNodes:
    """A Ray cluster of this process: a head, and a worker node that can be killed."""

    def __init__(self) -> None:
        head = {**NODE, "resources": {"head": 1}, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._worker = self._cluster.add_node(**NODE)
        self.address: str = self._cluster.address
        ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)

    def kill_worker(self) -> None:
        """End every process of the worker node at once, without a word to anybody."""
        self._cluster.remove_node(self._worker, allow_graceful=False)

    def stop(self) -> None:
        ray.shutdown()
        self._cluster.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """A cluster that ends with the block."""
    nodes = TwoNodes()
    try:
        yield nodes
    finally:
        nodes.stop()


def main(directory: Path) -> None:
    """Start everything, play, kill, and write down what an independent reader found."""
    scene = Scene.of(OPTIONS)
    with LocalStack(broker=OPTIONS.broker, run_dir=directory) as stack:
        (directory / "strategies.yaml").write_text(scene.strategies_yaml())
        settings = local_settings(
            stack, OPTIONS.broker, strategies=str(directory / "strategies.yaml"), pools=(LIGHT,)
        )
        topics_ready(settings, create=True)
        asyncio.run(_seed(settings, scene))
        with two_nodes() as nodes:
            hub = LocalHub(settings, dashboard=False, progress=_say)
            _deploy(settings, directory, nodes)
            hub.wait_for_owners()
            result = asyncio.run(_Run(scene, settings, hub, nodes).run(directory))
    (directory / "result.json").write_bytes(orjson.dumps(result))


async def _seed(settings: HubSettings, scene: Scene) -> None:
    bus = await open_bus(settings.kafka, client_id="seed")
    feed = await open_feed(settings.nats, name="seed")
    try:
        await seed_history(feed, history(scene.files, scene.plan), keep=WINDOW + 1)
        tomorrow_ns = time.time_ns() + 86_400 * 1_000_000_000
        await SubscriptionWriter(bus).put_many(
            scene.subscriptions(made_up_users(OPTIONS.users), entitled_until_ns=tomorrow_ns)
        )
    finally:
        await feed.close()
        await bus.close()


def _deploy(settings: HubSettings, directory: Path, nodes: TwoNodes) -> None:
    """Run a Serve config file on the cluster, and wait until all of it is healthy."""
    hub, config = directory / "hub.yaml", directory / "serve.yaml"
    hub.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    config.write_text(yaml.safe_dump(_serve_config(hub)))
    command = [str(Path(sys.executable).with_name("serve")), "run", "--non-blocking"]
    subprocess.run([*command, "--address", nodes.address, str(config)], check=True)
    _say("waiting for the application")
    asyncio.run(eventually(_running, timeout_s=150))


def _serve_config(hub: Path) -> dict[str, Any]:
    spread = {"num_replicas": 2, "max_replicas_per_node": 1}
    application = {
        "name": APP,
        "route_prefix": "/",
        "import_path": "serve_app:build",
        "args": {"config": str(hub)},
        "deployments": [
            {"name": "Gateway", "ray_actor_options": ON_HEAD},
            {"name": "Registry", "ray_actor_options": ON_HEAD},
            *({"name": name, **spread} for name in ("Forecaster", "Fanout", "pool-light")),
        ],
    }
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": free_port()},
        "applications": [application],
    }


def _running() -> bool:
    app = serve.status().applications.get(APP)
    assert app is not None, "the application is not there"
    if app.status.value == "DEPLOY_FAILED":
        raise RuntimeError(app.message)
    assert app.status.value == "RUNNING", app.status.value
    return True


class _Run:
    """One playback with a node killed in it."""

    def __init__(self, scene: Scene, settings: HubSettings, hub: LocalHub, nodes: TwoNodes) -> None:
        self._scene = scene
        self._settings = settings
        self._hub = hub
        self._nodes = nodes
        self._signals = 0

    async def run(self, directory: Path) -> dict[str, Any]:
        feed = await open_feed(self._settings.nats, name="playback")
        auditor = await Auditor.start(self._audit(directory), self._note)
        killing = asyncio.create_task(self._kill())
        try:
            await play(
                feed,
                self._scene.files,
                self._scene.plan,
                session="two-nodes",
                clock=time.time_ns,
                progress=Progress(),
            )
            return {"ledger": await auditor.finish(), **await killing}
        finally:
            killing.cancel()
            await auditor.kill()
            await feed.close()

    def _note(self, live: dict[str, Any]) -> None:
        self._signals = live["signals"]

    async def _kill(self) -> dict[str, Any]:
        """Kill the worker node and wait until the head's owners have taken everything over."""
        await asyncio.sleep(KILL_AFTER_S)
        before = await asyncio.to_thread(self._owners)
        _say("killing the worker node")
        began = time.monotonic()
        await asyncio.to_thread(self._nodes.kill_worker)
        after = await eventually(self._taken_over, timeout_s=60)
        took_s = time.monotonic() - began
        _say(f"taken over after {took_s:.1f} s")
        return {"before": before, "after": after, "took_s": took_s, "signals_then": self._signals}

    async def _taken_over(self) -> dict[str, list[list[int]]]:
        try:
            owners = await asyncio.to_thread(self._owners)
        except (RayError, TimeoutError) as error:
            raise AssertionError(f"a replica of the dead node is still listed: {error}") from error
        assert owners == EVERYTHING, owners
        return owners

    def _owners(self) -> dict[str, list[list[int]]]:
        """The live partitions of each replica of the fan-out and of the forecaster."""
        fanouts, forecasters = self._hub.owners("Fanout"), self._hub.owners("Forecaster")
        not_ready = [status for status in (*fanouts, *forecasters) if not status["ready"]]
        assert not not_ready, f"not ready: {not_ready}"
        return {
            "Fanout": [sorted(status["live"]) for status in fanouts],
            "Forecaster": [sorted(map(int, status["lanes"])) for status in forecasters],
        }

    def _audit(self, directory: Path) -> list[str]:
        arguments = ["--kafka", self._settings.kafka.bootstrap]
        arguments += ["--strategies", str(directory / "strategies.yaml")]
        for text in TICKS:
            arguments += ["--ticks", text]
        return [*arguments, "--seconds", str(OPTIONS.seconds), "--speed", str(OPTIONS.speed)]


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


if __name__ == "__main__":
    os.environ.update({"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"})
    main(Path(sys.argv[1]))
