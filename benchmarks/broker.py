"""Apache Kafka for one benchmark, in a directory that goes with it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from serve_app.servers.apache_kafka import DEFAULT_JVM, apache_kafka


@contextmanager
def broker(*, apart: bool = False) -> Iterator[tuple[str, Path]]:
    """Its address, and a directory to write to. It has the memory that Kafka's own start script gives it.

    `apart` gives the broker half of the cores and everybody else the other half, as if it had a machine of
    its own. Otherwise it depends on the kernel's mood whether two that take turns share a core.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="central-hub-")))
        kafka = apache_kafka(scratch, jvm=DEFAULT_JVM, progress=print)
        ours, its = _halves() if apart else (set[int](), set[int]())
        with _on(its):
            kafka.start()
        stack.callback(kafka.stop)
        kafka.wait_ready()
        stack.enter_context(_on(ours))
        yield kafka.address, scratch


def _halves() -> tuple[set[int], set[int]]:
    """Two halves of the cores we may use; empty where there is one, or nobody can say."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    middle = len(cores) // 2
    return (set(cores[:middle]), set(cores[middle:])) if middle else (set(), set())


@contextmanager
def _on(cores: set[int]) -> Iterator[None]:
    """This process, and whatever it starts meanwhile, keeps to these cores; to any if none is named."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
