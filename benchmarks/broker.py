"""Apache Kafka for one benchmark, in a directory that goes with it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve_app.servers.apache_kafka import apache_kafka


@contextmanager
def broker() -> Iterator[tuple[str, Path]]:
    """Its address, and a directory to write to."""
    with tempfile.TemporaryDirectory(prefix="central-hub-") as scratch:
        kafka = apache_kafka(Path(scratch), progress=print)
        kafka.start()
        try:
            kafka.wait_ready()
            yield kafka.address, Path(scratch)
        finally:
            kafka.stop()
