"""History and live on one socket: nothing is missing between the two, and nothing comes twice."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from tests.support.virtual_loop import later, until
from tests.unit.front.signal_log import ALICE, NEIGHBOURS
from tests.unit.signals.records import NOW_NS
from tests.unit.stream.stage import LATER_NS, Stage, play


@pytest.mark.parametrize("since", [0, 1, 31, 32, 40])
def test_a_client_gets_all_since_the_sequence_it_has(since: int) -> None:
    """In order: what the log has, then what comes."""

    async def story(stage: Stage) -> list[int]:
        for sequence in range(1, 41):
            stage.signal(sequence)
            stage.signal(sequence, NEIGHBOURS[0])
        client = stage.open(f"since_seq={since}")
        await later(1)
        for sequence in range(41, 45):
            stage.signal(sequence)
        await until(lambda: 44 in client.sequences)
        return client.sequences

    assert play(story) == list(range(since + 1, 45))


def test_without_a_sequence_a_client_gets_what_comes_from_now_on() -> None:
    """And learns from the first beat where it stands."""

    async def story(stage: Stage) -> tuple[list[int], int]:
        for sequence in range(1, 41):
            stage.signal(sequence)
        client = stage.open()
        await until(lambda: client.notes("beat"))
        stage.signal(41)
        await until(lambda: client.sequences)
        return client.sequences, client.notes("beat")[0]["last_sequence"]

    assert play(story) == ([41], 40)


@pytest.mark.parametrize("seed", range(12))
def test_reconnecting_at_any_moment_neither_loses_nor_repeats(seed: int) -> None:
    """While signals flow: each connection goes on from the last sequence the client saw."""

    async def story(stage: Stage) -> list[int]:
        rng, seen = Random(seed), [0]
        flowing = asyncio.create_task(flow(stage, rng, 150))
        while seen[-1] < 150:
            client = stage.open(f"since_seq={seen[-1]}")
            await later(rng.choice((0.0, 0.01, 0.3, 2.0)))
            client.leave()
            seen += client.sequences
        await flowing
        return seen[1:]

    assert play(story) == list(range(1, 151))


async def flow(stage: Stage, rng: Random, count: int) -> None:
    """Alice's signals among those of others, and now and then a new owner and its fenced predecessor."""
    old = stage.log.epoch
    for sequence in range(1, count + 1):
        if rng.random() < 0.05:
            old, _ = stage.log.epoch, stage.log.claim()
        if old != stage.log.epoch and rng.random() < 0.2:
            stage.signal(sequence, epoch=old, reason="void")
        stage.signal(sequence)
        stage.signal(sequence, rng.choice(NEIGHBOURS))
        await asyncio.sleep(rng.choice((0.0, 0.001, 0.05, 0.2)))


def test_more_live_signals_than_are_kept_come_out_of_the_log() -> None:
    """A long history does not hold live ones in memory without a bound."""

    async def story(stage: Stage) -> list[int]:
        for sequence in range(1, 30):
            stage.signal(sequence)
        client = stage.open("since_seq=0")
        client.stick()
        await later(0.5)
        for sequence in range(30, 80):  # many times more than a page
            stage.signal(sequence)
        await later(0.5)
        client.stick(free=True)
        await until(lambda: 79 in client.sequences)
        return client.sequences

    assert play(story) == list(range(1, 80))


def test_a_gap_between_live_signals_is_filled_from_the_log() -> None:
    """What the follower did not hand out, for whatever reason, the client gets all the same, and in order."""

    async def story(stage: Stage) -> list[int]:
        client = stage.open("since_seq=0")
        stage.signal(1)
        await until(lambda: client.sequences)
        stage.switchboard.hand = lambda *_: None  # type: ignore[method-assign]
        for sequence in range(2, 6):
            stage.signal(sequence)
        await later(1)
        del stage.switchboard.hand
        stage.signal(6)
        await until(lambda: 6 in client.sequences)
        return client.sequences

    assert play(story) == [1, 2, 3, 4, 5, 6]


def test_the_log_away_while_history_is_read_delays_and_loses_nothing() -> None:
    """Reads are tried again."""

    async def story(stage: Stage) -> list[int]:
        for sequence in range(1, 41):
            stage.signal(sequence)
        stage.log.log.halt()
        client = stage.open("since_seq=30")
        await later(5)
        stage.log.log.resume()
        await until(lambda: 40 in client.sequences)
        return client.sequences

    assert play(story) == list(range(31, 41))


def test_what_nobody_may_act_on_is_told_by_its_numbers() -> None:
    """Expired ones in one note for a run of them, so that the client sees no gap and no stale signal."""

    async def story(stage: Stage) -> list[dict[str, Any]]:
        for sequence in range(1, 8):
            expired = sequence not in {3, 4}
            stage.signal(sequence, expires_ns=NOW_NS + (-1 if expired else LATER_NS))
        client = stage.open("since_seq=0")
        await until(lambda: client.notes("beat"))
        return client.frames

    before, three, four, after, beat = play(story)
    assert before == {"type": "skipped", "from": 1, "to": 2, "reason": "expired"}
    assert (three["sequence"], four["sequence"]) == (3, 4)
    assert after == {"type": "skipped", "from": 5, "to": 7, "reason": "expired"}
    assert beat["last_sequence"] == 7


def test_a_signal_that_expires_while_it_waits_is_not_sent() -> None:
    """A slow client gets no stale signals when it wakes up; the hub's clock error counts against them."""

    async def story(stage: Stage) -> tuple[list[int], list[dict[str, object]]]:
        client = stage.open("since_seq=0")
        await later(1)
        client.stick()
        for sequence in (1, 2, 3):
            stage.signal(sequence, expires_ns=stage.clock() + 3 * 10**9, clock_error_ns=2 * 10**9)
        await later(1.5)
        client.stick(free=True)
        await later(1)
        return client.sequences, client.notes("skipped")

    sequences, notes = play(story, send_s=60)
    assert sequences == [1]  # it was on its way already
    assert [(note["from"], note["to"], note["reason"]) for note in notes] == [(2, 3, "expired")]


def test_of_other_accounts_only_the_numbers_come() -> None:
    """There is one sequence per user; a filter must not look like a loss."""

    async def story(stage: Stage) -> tuple[list[int], list[dict[str, object]]]:
        for sequence, account in enumerate(("main", "other", "other", "main"), start=1):
            stage.signal(sequence, account_id=account)
        client = stage.open("since_seq=0&account=main")
        await until(lambda: 4 in client.sequences)
        return client.sequences, client.notes("skipped")

    sequences, notes = play(story)
    assert sequences == [1, 4]
    assert [(note["from"], note["to"], note["reason"]) for note in notes] == [(2, 3, "other_account")]


def test_what_the_log_no_longer_has_is_told_as_a_gap() -> None:
    """The client decides what that means; the hub does not pretend."""

    async def story(stage: Stage) -> tuple[list[int], list[dict[str, object]]]:
        places = [stage.signal(sequence) for sequence in range(1, 70)]
        stage.log.expire_before(places[50])
        client = stage.open("since_seq=3")
        await until(lambda: 69 in client.sequences)
        return client.sequences, client.notes("gap")

    sequences, gaps = play(story)
    assert sequences == list(range(sequences[0], 70))
    assert [(gap["after"], gap["before"]) for gap in gaps] == [(3, sequences[0])]


def test_a_sequence_from_elsewhere_does_not_silence_a_stream() -> None:
    """A client that claims to have more than there is still gets what comes."""

    async def story(stage: Stage) -> list[int]:
        stage.signal(1)
        client = stage.open("since_seq=9000")
        await later(1)
        stage.signal(2)
        await until(lambda: client.sequences)
        return client.sequences

    assert play(story) == [2]


def test_frames_are_the_signals_of_the_log_byte_for_byte() -> None:
    """Nothing is decoded and encoded again on the way."""

    async def story(stage: Stage) -> bool:
        client = stage.open("since_seq=0")
        offset = stage.signal(1)
        await until(lambda: client.sequences)
        records = stage.log.log.partition("user.signals", 21).records
        value = next(r.value for r in records if r.offset == offset and r.key == ALICE.encode())
        return any(m.get("text", "").encode() == value for m in client.messages)

    assert play(story)
