"""A Ctrl-C while processes are started is neither lost nor early."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from serve_app.interrupts import interrupts_deferred


def test_it_is_raised_once_the_block_has_ended() -> None:
    """What the block does is done whole, and the handler is the former one again."""
    before, done = signal.getsignal(signal.SIGINT), []

    def block() -> None:
        with interrupts_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        block()

    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is before


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
