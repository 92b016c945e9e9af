"""Coming back after a moment: out of memory where that reaches back far enough, without reading the log."""

from __future__ import annotations

from deployments.stream.recent import Recent
from messaging.ports import LogRecord
from tests.support.virtual_loop import later, until
from tests.unit.front.signal_log import NEIGHBOURS
from tests.unit.stream.stage import Stage, play


def record(offset: int, key: bytes) -> LogRecord:
    """One of `user.signals`."""
    return LogRecord("user.signals", 0, offset, 0, key, b"")


def test_the_oldest_records_give_way_whoever_they_are_of() -> None:
    """What is left of a user has no gap."""
    recent = Recent(4)
    for offset, key in enumerate((b"a", b"b", b"a", b"a", b"b", b"a")):
        recent.keep(record(offset, key))

    assert [one.offset for one in recent.of(b"a")] == [2, 3, 5]
    assert [one.offset for one in recent.of(b"b")] == [4]
    assert recent.of(b"c") == ()


def test_who_comes_back_after_a_moment_does_not_read_the_log() -> None:
    """Signals that came while nobody listened are in memory too; those of fenced owners do not count."""

    async def story(stage: Stage) -> tuple[list[int], list[bool], int]:
        old = stage.log.epoch
        stage.log.claim()
        for sequence in range(1, 6):
            stage.signal(sequence)
            stage.signal(sequence + 1, epoch=old, reason="void")
            stage.signal(sequence, NEIGHBOURS[0])
        await later(1)
        stage.log.log.halt()
        back, fresh = stage.open("since_seq=2"), stage.open()
        await until(lambda: 5 in back.sequences)
        stage.log.log.resume()
        await later(1)
        stage.signal(6)
        await until(lambda: 6 in back.sequences and fresh.sequences)
        return back.sequences, [f.get("reason") == "void" for f in back.frames], fresh.sequences[0]

    sequences, void, first_live = play(story)
    assert sequences == [3, 4, 5, 6]
    assert not any(void)
    assert first_live == 6


def test_memory_that_does_not_reach_back_far_enough_is_not_relied_on() -> None:
    """Then the log is read, from a mark."""

    async def story(stage: Stage) -> list[int]:
        for sequence in range(1, 50):
            stage.signal(sequence)
        await later(1)
        stage.follower._recent = Recent(3)
        for sequence in range(50, 60):
            stage.signal(sequence)
        await later(1)
        client = stage.open("since_seq=40")
        await until(lambda: 59 in client.sequences)
        return client.sequences

    assert play(story) == list(range(41, 60))


def test_a_slow_client_misses_nothing_that_comes_while_memory_is_brought() -> None:
    """More than is kept for it: the log has the rest."""

    async def story(stage: Stage) -> list[int]:
        for sequence in range(1, 11):
            stage.signal(sequence)
        await later(1)
        client = stage.open("since_seq=0")
        client.stick()
        await later(1)
        for sequence in range(11, 40):
            stage.signal(sequence)
        await later(1)
        client.stick(free=True)
        await until(lambda: 39 in client.sequences)
        return client.sequences

    assert play(story, queue_frames=3, beat_s=100) == list(range(1, 40))
