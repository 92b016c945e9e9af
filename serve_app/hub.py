"""A hub on this machine: Ray, Serve and the application, started with progress and stopped without a trace.

Only what was started here is stopped: the Ray runtime is this process's own and no other is ever joined.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import ray
from ray import serve
from ray.serve import RunTarget
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig

from models.errors import BrokerUnavailable
from serve_app.interrupts import interrupts_deferred
from serve_app.settings import HubSettings
from serve_app.wiring import (
    APP,
    CONTROL_APP,
    CONTROL_ROUTE,
    STREAM_APP,
    STREAM_ROUTE,
    build_hub,
    build_hub_control,
    build_hub_stream,
)

_START_TIMEOUT_S: Final = 180.0
_OWNERS_TIMEOUT_S: Final = 120.0
_OBJECT_STORE_BYTES: Final = 256 << 20
RAY_ENVIRONMENT: Final = {
    # One event loop per process instead of three, so that a call to a replica changes threads less often. It
    # holds for the workers: this process read its own when Serve was imported, and has no loop to share.
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_worker_niceness": "0",  # Ray's default of 15 lets every other process of the machine go first
    "RAY_SERVE_LOG_TO_STDERR": "0",
}


class LocalHub:
    """`start` returns when every deployment is healthy; `owners` tells what forecasters and fan-outs own."""

    def __init__(self, settings: HubSettings, *, dashboard: bool, progress: Callable[[str], None]) -> None:
        self._settings = settings
        self._dashboard = dashboard
        self._progress = progress
        self.dashboard_url: str | None = None

    @property
    def url(self) -> str:
        return f"http://{self._settings.http.host}:{self._settings.http.port}"

    def start(self) -> None:
        """Start Ray, Serve and the application; BrokerUnavailable if not healthy after three minutes."""
        self._progress("starting Ray")
        for name, value in RAY_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        with interrupts_deferred():
            context = ray.init(
                address="local",
                include_dashboard=self._dashboard,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=_OBJECT_STORE_BYTES,
            )
        self.dashboard_url = f"http://{context.dashboard_url}" if context.dashboard_url else None
        self._progress("starting Ray Serve")
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        http = self._settings.http
        serve.start(http_options=HTTPOptions(host=http.host, port=http.port))
        self.deploy()

    def owners(self, deployment: str) -> list[dict[str, Any]]:
        """The status of every replica of `Forecaster` or `Fanout`."""
        handle = serve.get_deployment_handle(deployment, APP)
        found = handle.broadcast("status").results(timeout_s=5)
        return [status for status in found if isinstance(status, dict)]

    def wait_for_owners(self) -> None:
        """Return when every partition of users and of symbols has a live owner."""
        for deployment, what in (("Forecaster", "symbols"), ("Fanout", "users")):
            self._progress(f"waiting for the owners of {what}")
            self._wait_for(deployment, what)

    def _wait_for(self, deployment: str, what: str) -> None:
        deadline = time.monotonic() + _OWNERS_TIMEOUT_S
        while not (statuses := self.owners(deployment)) or not all(one["ready"] for one in statuses):
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"no live owner of {what} after {_OWNERS_TIMEOUT_S:.0f} s; they say {statuses}"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """End Serve and Ray; safe to call at any point of a start."""
        if not ray.is_initialized():
            return
        with _silent():  # Ray would complain that its own controller is gone
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()

    def deploy(self) -> None:
        """Deploy the application; on one that runs, replace its replicas a few at a time.

        In a thread of its own, so that the progress line can tell what is still missing. It is built before:
        where one thread builds while another asks for the status, Serve trips over its own pickling.
        """
        failure: list[BaseException] = []
        running = threading.Thread(target=_run, args=(self._targets(), failure), daemon=True)
        running.start()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while running.is_alive():
            self._progress(f"starting deployments: {_missing() or 'all created'}")
            running.join(timeout=0.5)
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"the hub did not start: still missing {_missing()}")
        if failure:
            raise failure[0]

    def _targets(self) -> list[RunTarget]:
        quiet = LoggingConfig(log_level="INFO", enable_access_log=False)
        hub = RunTarget(build_hub(self._settings), name=APP, route_prefix="/", logging_config=quiet)
        stream = RunTarget(
            build_hub_stream(self._settings),
            name=STREAM_APP,
            route_prefix=STREAM_ROUTE,
            logging_config=quiet,
        )
        return [hub, stream, *self._control(quiet)]

    def _control(self, quiet: LoggingConfig) -> list[RunTarget]:
        """The control plane, where the settings name one."""
        if self._settings.control is None:
            return []
        app = build_hub_control(self._settings)
        return [RunTarget(app, name=CONTROL_APP, route_prefix=CONTROL_ROUTE, logging_config=quiet)]


def _run(targets: list[RunTarget], failure: list[BaseException]) -> None:
    try:
        serve.run_many(targets)
    except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits
        failure.append(error)


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing is printed, not even by the threads and libraries that write past `sys.stdout`."""
    kept, nowhere = (os.dup(1), os.dup(2)), os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        for stream, before in zip((1, 2), kept, strict=True):
            os.dup2(before, stream)
        for descriptor in (*kept, nowhere):
            os.close(descriptor)


def _missing() -> str:
    """Deployments that are not healthy yet, by name."""
    found = serve.status().applications
    apps = [found[name] for name in (APP, STREAM_APP, CONTROL_APP) if name in found]
    if not apps:
        return "the applications"
    deployments = {name: one for app in apps for name, one in app.deployments.items()}
    return ", ".join(name for name, one in deployments.items() if one.status.value != "HEALTHY")
