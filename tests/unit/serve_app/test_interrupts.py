"""What asks for the end while processes are started is neither lost nor early."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from serve_app.interrupts import interrupts_deferred, obey_sigterm


@pytest.fixture(autouse=True)
def sigterm() -> Iterator[None]:
    """Obeyed in the test, and what it was before afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    obey_sigterm()
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("asked", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_it_is_raised_once_the_block_has_ended(asked: signal.Signals, raised: type[BaseException]) -> None:
    """What the block does is done whole, and the handler is the former one again, whoever replaced it."""
    before, done = signal.getsignal(asked), []

    def block() -> None:
        with interrupts_deferred():
            os.kill(os.getpid(), asked)
            done.append("all of it")
            signal.signal(asked, signal.SIG_DFL)

    with pytest.raises(raised):
        block()

    assert done == ["all of it"]
    assert signal.getsignal(asked) is before


def test_what_nobody_heeds_is_left_alone() -> None:
    """A process that a shell made deaf to Ctrl-C stays so, in the block as well."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_without_one_nothing_happens() -> None:
    """And an error of the block stays what it is."""
    with interrupts_deferred():
        pass
    with pytest.raises(ValueError, match="of the block"), interrupts_deferred():
        raise ValueError("of the block")


def test_elsewhere_than_in_the_main_thread_it_changes_nothing() -> None:
    """Python allows no other thread to say what a signal does."""
    seen: list[object] = []

    def block() -> None:
        with interrupts_deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()

    assert seen == [signal.getsignal(signal.SIGINT)]
