"""Everything the hub talks to, on this machine, on free loopback ports: a Kafka broker, NATS, Valkey, and
PostgreSQL where tenants are wanted.

The demo, `hub up --local`, the tests and the benchmarks start one of these, and it ends with them.
By hand: `python -m serve_app.local_stack --broker kafka` prints the addresses and stays until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, assert_never

from serve_app.servers.apache_kafka import apache_kafka
from serve_app.servers.bundled import nats, tansu, valkey
from serve_app.servers.postgres import postgres
from serve_app.servers.process import ServerProcess

Broker = Literal["tansu", "kafka"]


@dataclass(frozen=True)
class Endpoints:
    """Where clients reach the stack: Kafka as `host:port`, the others as URLs."""

    kafka: str
    nats: str
    redis: str


class LocalStack:
    """The servers. A context manager, or call `start` and `stop`: both block, neither needs asyncio.

    Logs and data lie in `run_dir`; without one, in a temporary directory that goes when the stack stops.
    A stack starts once; single servers may be killed, frozen and restarted between.
    """

    def __init__(
        self,
        *,
        broker: Broker = "tansu",
        run_dir: Path | None = None,
        tenants: bool = False,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._temporary = run_dir is None
        self.run_dir = run_dir or Path(tempfile.mkdtemp(prefix="central-hub-"))
        self._progress = progress
        self._broker: Broker = broker
        self.nats = nats(self.run_dir)
        self.redis = valkey(self.run_dir)
        self.kafka = self._make_broker()
        self.postgres = postgres(self.run_dir) if tenants else None

    @property
    def endpoints(self) -> Endpoints:
        """The addresses; they stay the same across restarts of single servers."""
        return Endpoints(
            kafka=self.kafka.address,
            nats=f"nats://{self.nats.address}",
            redis=f"redis://{self.redis.address}/0",
        )

    @property
    def servers(self) -> tuple[ServerProcess, ...]:
        """The broker last: it takes longest to be ready."""
        return (self.nats, self.redis, *([self.postgres] if self.postgres else []), self.kafka)

    def start(self) -> Endpoints:
        """Start the servers side by side and return when all of them answer.

        Raises:
            ServerFailed: one did not; the others are stopped again.
        """
        try:
            for server in self.servers:
                server.start()
            for server in self.servers:
                self._progress(f"waiting for {server.spec.name} on {server.address}")
                server.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self.endpoints

    def stop(self) -> None:
        """End every server that still runs, side by side; a second call does nothing."""
        for server in self.servers:
            server.ask_to_stop()
        for server in self.servers:
            server.stop()
        if self._temporary:
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_broker(self) -> ServerProcess:
        match self._broker:
            case "tansu":
                return tansu(self.run_dir)
            case "kafka":
                return apache_kafka(self.run_dir, progress=self._progress)
        assert_never(self._broker)


def main() -> None:
    """Run a stack until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m serve_app.local_stack", description=main.__doc__)
    parser.add_argument(
        "--broker", choices=("tansu", "kafka"), default="tansu", help="which Kafka (default: tansu)"
    )
    parser.add_argument(
        "--run-dir", type=Path, help="keep logs and data here (default: a temporary directory)"
    )
    options = parser.parse_args()
    with (
        _until_asked_to_end() as asked,
        LocalStack(broker=options.broker, run_dir=options.run_dir, tenants=True, progress=_say) as stack,
    ):
        for server in stack.servers:
            _say(f"{server.spec.name:<20} {server.address:<16} pid {server.pid}")
        _say(f"logs in {stack.run_dir}; Ctrl-C ends everything")
        asked.wait()


@contextlib.contextmanager
def _until_asked_to_end() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the stack is always left by its own door."""
    asked = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: asked.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command line program


if __name__ == "__main__":
    main()
