"""A Ray of the benchmark's own, with Serve set up as the hub sets it up."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import ray
from ray import serve
from ray.serve import Application, RunTarget
from ray.serve.schema import LoggingConfig

from serve_app.hub import RAY_ENVIRONMENT

_STARTS: Final = 3


@contextmanager
def serving(applications: Mapping[str, Application]) -> Iterator[dict[str, Any]]:
    """These applications, running; a handle to each. Ended with the block."""
    directory = tempfile.mkdtemp(prefix="hub-bench-", dir="/tmp")  # short: socket paths have a limit
    for name, value in {**RAY_ENVIRONMENT, "RAY_AUTH_MODE": "disabled"}.items():
        os.environ.setdefault(name, value)
    try:
        start_ray(directory)
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        serve.start(proxy_location="Disabled")
        yield deployed(applications)
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
        shutil.rmtree(directory, ignore_errors=True)


def deployed(applications: Mapping[str, Application]) -> dict[str, Any]:
    """The same in a Serve that runs already."""
    quiet = LoggingConfig(log_level="ERROR", enable_access_log=False)
    targets = [
        RunTarget(app, name=name, route_prefix=None, logging_config=quiet)
        for name, app in applications.items()
    ]
    return dict(zip(applications, serve.run_many(targets), strict=True))


def start_ray(directory: str) -> None:
    """A Ray without a dashboard. A raylet on a busy machine may miss the 30 s that it has: then once more."""
    for attempt in range(1, _STARTS + 1):
        try:
            ray.init(
                address="local",
                num_cpus=8,
                include_dashboard=False,
                object_store_memory=256 << 20,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=directory,
            )
        except Exception as error:
            if attempt == _STARTS or "timed out during startup" not in str(error):
                raise
            ray.shutdown()
        else:
            return
