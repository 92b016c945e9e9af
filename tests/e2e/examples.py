"""The example services as people start them, beside a running hub."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import UpHub

EXAMPLES = Path(__file__).parents[2] / "examples"
DESK_USERS = ("anna", "ben", "chloe")
READY_S = 60.0


@dataclass(frozen=True)
class Desk:
    """A running example; `file` is its store."""

    file: Path
    process: subprocess.Popen[bytes]

    @property
    def said(self) -> str:
        """Its output so far."""
        return self.file.with_suffix(".log").read_text()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What its store says."""
        with closing(sqlite3.connect(self.file)) as database:
            return list(database.execute(query))

    def sequences(self, user: str) -> list[object]:
        """The numbers of the user's effects, oldest first."""
        query = f"SELECT sequence FROM effects WHERE user_id = '{user}' ORDER BY id"  # noqa: S608 - our own
        return [sequence for (sequence,) in self.rows(query)]


@contextmanager
def desks(hub: UpHub, directory: Path) -> Iterator[dict[str, Desk]]:
    """Both examples, for the same users: the one subscribes them, each acts on everything."""
    with ExitStack() as stack:
        trading = _started(hub, "trading_service/service.py", directory / "desk.sqlite")
        stack.callback(_stop, trading)
        foreign = _started(
            hub, "foreign_reader/reader.py", directory / "foreign.sqlite", "--kafka", hub.address.kafka
        )
        stack.callback(_stop, foreign)
        for desk in (trading, foreign):
            _await_ready(desk)
        yield {desk.file.stem: desk for desk in (trading, foreign)}


def _started(hub: UpHub, script: str, file: Path, *more: str) -> Desk:
    command = [sys.executable, str(EXAMPLES / script), "--users", *DESK_USERS, "--file", str(file), *more]
    with file.with_suffix(".log").open("w") as log:
        environment = {**hub.environment, "PYTHONPATH": str(EXAMPLES.parent)}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    return Desk(file, process)


def _await_ready(desk: Desk) -> None:
    deadline = time.monotonic() + READY_S
    while "reading" not in desk.said:
        if desk.process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{desk.file.stem} does not read:\n{desk.said}")
        time.sleep(0.05)


def _stop(desk: Desk) -> None:
    desk.process.send_signal(signal.SIGINT)
    desk.process.wait(timeout=30)
