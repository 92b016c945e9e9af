"""Where the hub that `hub up` or `hub demo --keep` started can be found by the other commands.

One small file in the state directory, readable by the user alone. It holds addresses and the path of the
signing secret, never the secret itself. Environment variables and options win over it.
"""

from __future__ import annotations

import os
from pathlib import Path

from models.base import Frozen
from models.errors import ConfigError
from serve_app.private_file import write_private


class RunningHub(Frozen):
    """Addresses of a running hub. `secret_file` is the local signing secret, absent with external issuers."""

    url: str
    kafka: str
    nats: str
    redis: str
    bundled: bool
    config: str | None = None
    secret_file: str | None = None


def run_file() -> Path:
    """`$XDG_STATE_HOME/central-hub/hub.json`."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "central-hub" / "hub.json"


def remember(hub: RunningHub) -> Path:
    """Write the run file: from now on other commands find the hub."""
    path = run_file()
    write_private(path, hub.model_dump_json(indent=1))
    return path


def forget() -> None:
    """Remove the run file; nothing happens if it is gone already."""
    run_file().unlink(missing_ok=True)


def recall() -> RunningHub:
    """The running hub; ConfigError says how to start one."""
    path = run_file()
    if not path.is_file():
        raise ConfigError(
            "no running hub is known here; start one with `hub up --local`, or give its address"
        )
    return RunningHub.model_validate_json(path.read_text())
