"""The worker processes of a scene, by name."""

from __future__ import annotations

import signal
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from serve_app.settings import ROOT
from tests.support.scene.worker import Wires


class Role(StrEnum):
    """What a worker does."""

    FANOUT = "fanout"
    FORECASTER = "forecaster"


class Crew:
    """Starts workers and sends them signals. Whoever is left is killed at the end."""

    def __init__(self, directory: Path, wires: Wires) -> None:
        self._directory = directory
        self._wires = wires
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._gone: set[str] = set()

    @property
    def names(self) -> list[str]:
        """Everybody who ever was there, in the order they came."""
        return list(self._workers)

    @property
    def present(self) -> list[str]:
        """Those who were neither killed nor sent away."""
        return [name for name in self._workers if name not in self._gone]

    def of(self, role: Role) -> list[str]:
        """Those of a role who are present, the oldest first."""
        return [name for name in self.present if name.startswith(role)]

    def busiest(self, role: Role) -> str:
        """The one of a role that has settled most."""
        return max(self.of(role), key=self._settled)

    def recruit(self, role: Role) -> str:
        """One more worker of the role; its name."""
        name = f"{role}-{len(self._workers)}"
        command = [sys.executable, "-m", "tests.support.scene.worker", role, name]
        command += ["--seen", str(self._file(name, "seen")), *self._wires.arguments()]
        with self._file(name, "log").open("wb") as log:
            self._workers[name] = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        return name

    def kill(self, name: str) -> None:
        self._gone.add(name)
        self._workers[name].kill()

    def stop(self, name: str) -> None:
        """Ask it to hand over and end."""
        self._gone.add(name)
        self._workers[name].terminate()

    def freeze(self, name: str) -> None:
        self._workers[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._workers[name].send_signal(signal.SIGCONT)

    def ready(self, name: str) -> bool:
        """What the worker last said of itself."""
        self.assert_alive()
        last = self.told(name)[-1:]
        return bool(last and last[0]["ready"])

    def assert_alive(self) -> None:
        """Nobody ended who was to stay."""
        for name in self.present:
            code = self._workers[name].poll()
            assert code is None, f"{name} ended with {code}:\n{self.log(name)[-4000:]}"

    def told(self, name: str) -> list[dict[str, Any]]:
        """What the worker said of itself, oldest first; a line that a kill cut off is left out."""
        file = self._file(name, "seen")
        lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
        return [orjson.loads(line) for line in lines]

    def log(self, name: str) -> str:
        """What the worker logged."""
        return self._file(name, "log").read_text()

    def end(self) -> None:
        for worker in self._workers.values():
            worker.kill()
            worker.wait()

    def _settled(self, name: str) -> float:
        counts = {"hub_slots_total", "hub_signals_total"}
        last = self.told(name)[-1:]
        return sum(float(value) for line in last for metric, _, value in line["metrics"] if metric in counts)

    def _file(self, name: str, kind: str) -> Path:
        return self._directory / f"{name}.{kind}"
