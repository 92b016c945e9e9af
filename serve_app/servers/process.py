"""A server as a child process: started, waited for, frozen, killed and ended by its own id, never by name.

Each server leads its own process group, so Ctrl-C in the terminal reaches only the program that started it,
which then ends its servers in order. A leash (`leash.py`) ends them if that program dies without doing so.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import HubError

READY_TIMEOUT_S = 60.0
POLL_S = 0.02
STOP_GRACE_S = 5.0
LEASH = Path(__file__).with_name("leash.py")


class ServerFailed(HubError):
    """A server ended or stayed silent while it was waited for; the text ends with its last log lines."""

    code = "server_failed"


@dataclass(frozen=True)
class ServerSpec:
    """What there is to know about one server: its command, its address, its log and when it is ready.

    `user` runs it as somebody else, where this process is root. `stop_signal` is what asks it to end.
    """

    name: str
    address: str
    command: tuple[str, ...]
    log: Path
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM


class ServerProcess:
    """One server on one address. Any method may be called in any state; data survives `kill` and `start`."""

    def __init__(self, spec: ServerSpec) -> None:
        self.spec = spec
        self._child: subprocess.Popen[bytes] | None = None
        self._leash: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """`host:port` for clients, the same across restarts."""
        return self.spec.address

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid if self._child is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether the process exists; a frozen one does."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start the process and return at once; see `wait_ready`. One that ended is reaped first."""
        if self.running:
            return
        self.kill()
        with self.spec.log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - the command is ours, nothing of it is input
                self.spec.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.spec.environment},
                start_new_session=True,
                user=self.spec.user,
                group=self.spec.user and pwd.getpwnam(self.spec.user).pw_gid,
            )
        self._leash = _leash(self._child.pid)

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return once the server answers.

        Raises:
            ServerFailed: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self.spec.is_ready():
            if not self.running:
                raise ServerFailed(f"{self.spec.name} ended while it was starting. {self._last_words()}")
            if time.monotonic() > deadline:
                silence = f"did not answer on {self.address} within {timeout_s:g} s"
                raise ServerFailed(f"{self.spec.name} {silence}. {self._last_words()}")
            time.sleep(POLL_S)

    def ask_to_stop(self) -> None:
        """Send the polite signal and return at once, so that several servers can end side by side."""
        self.thaw()
        self._signal(self.spec.stop_signal)

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Let the server end by itself, and kill it if it has not after the grace time."""
        self.ask_to_stop()
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(grace_s)
        self.kill()

    def kill(self) -> None:
        """End the whole process group at once, as a crash would, and return when it is gone."""
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()
        if self._leash is not None:
            self._leash.kill()
            self._leash.wait()

    def freeze(self) -> None:
        """Suspend the process: its sockets stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on where it was."""
        self._signal(signal.SIGCONT)

    def restart(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Kill the process if it runs, start it again on the same address and data, and wait for it."""
        self.kill()
        self.start()
        self.wait_ready(timeout_s)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self.running:
            os.killpg(self._child.pid, number)

    def _last_words(self, lines: int = 12) -> str:
        text = self.spec.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"The end of {self.spec.log}:", *text])


def _leash(server: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", str(LEASH), str(server), str(os.getpid())]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - ours
