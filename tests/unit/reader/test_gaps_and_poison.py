"""What the log lacks and what nobody can read: reported, put aside, and in nobody's way."""

from __future__ import annotations

from deployments.reader import GapKind
from messaging.topics import SIGNALS
from signals.reader import Verdict
from tests.support.virtual_loop import later
from tests.unit.reader.scene import (
    HOME,
    NEIGHBOURS,
    USER,
    Scene,
    headers_of,
    repeating,
    skipping,
    virtual,
)
from tests.unit.signals.records import TTL_NS

TTL_S = TTL_NS / 1e9
OTHER = NEIGHBOURS[0]


def test_what_the_consumer_skipped_is_read_back() -> None:
    """Its signals have their effect before the one behind the hole, and the hole is reported."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        async with scene.reader() as reading:
            scene.signal()
            await later(1)
            with skipping(range(2, 5)):
                for slot in range(1, 5):
                    scene.signal(slot=slot)
                await later(1)

        assert [number for _, number, _ in scene.done] == [1, 2, 3, 4, 5]
        assert [(gap.kind, gap.start, gap.stop) for gap in reading.gaps] == [(GapKind.FILLED, 2, 5)]

    virtual(run())


def test_what_the_consumer_returns_again_is_passed_over() -> None:
    """A client that went back, as after a change of leader, moves nobody's place back with it."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        with repeating():
            async with scene.reader() as reading:
                for slot in range(3):
                    scene.signal(slot=slot)
                    await later(1)
                health = reading.reader.health()

        assert [number for _, number, _ in scene.done] == [1, 2, 3]
        assert health.verdicts == {Verdict.CONTROL: 1, Verdict.ACCEPTED: 3}
        assert not reading.gaps

    virtual(run())


def test_what_retention_removed_is_reported() -> None:
    """A reader that was away for too long cannot have it back, and says so."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        scene.signal()
        async with scene.reader():
            await later(1)
        for slot in range(1, 5):
            scene.signal(slot=slot)
        scene.log.partition(SIGNALS.name, HOME).truncate(4)
        async with scene.reader() as reading:
            await later(1)

        assert [number for _, number, _ in scene.done] == [1, 4, 5]
        assert [(gap.kind, gap.start, gap.stop) for gap in reading.gaps] == [
            (GapKind.REMOVED, 2, 4),
            (GapKind.NUMBERS, 2, 4),
        ]

    virtual(run())


def test_numbers_that_the_log_does_not_have_are_reported_and_the_signal_counts() -> None:
    """Poison may have borne them; the user's next signal is acted on all the same."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        scene.signal()
        scene.signal(slot=1, sequence=4)
        async with scene.reader() as reading:
            await later(1)

        assert [number for _, number, _ in scene.done] == [1, 4]
        gap = reading.gaps[0]
        assert (gap.kind, gap.user_id, gap.start, gap.stop) == (GapKind.NUMBERS, USER, 2, 4)

    virtual(run())


def test_poison_becomes_a_dead_letter_with_its_provenance_and_stops_nobody() -> None:
    """Undecodable, misaddressed, forged, another version; never what is void, repeated or expired."""

    async def run() -> None:
        scene = Scene()
        old = scene.claim()
        scene.signal(slot=0)
        scene.claim()
        scene.land(USER.encode(), scene.raw(slot=1, sequence=2, epoch=old))
        scene.land(USER.encode(), scene.raw(slot=0, sequence=1))
        await later(TTL_S)
        poison = [
            scene.land(b"k" * 9, b"\xff"),
            scene.land(OTHER.encode(), scene.raw(slot=1)),
            scene.land(USER.encode(), scene.raw(slot=1, epoch=10**6)),
            scene.land(USER.encode(), scene.raw(slot=1).replace(b"hub.signal/1", b"hub.signal/2")),
            scene.land(USER.encode(), b"x" * 2**20),
        ]
        scene.signal(slot=1)
        async with scene.reader() as reading:
            await later(1)

        letters = [headers_of(letter) for letter in scene.letters]
        assert [int(letter["dlq-offset"]) for letter in letters] == poison
        errors = ["undecodable", "misaddressed", "forged", "undecodable", "undecodable"]
        assert [letter["dlq-error"] for letter in letters] == errors
        assert [letter["dlq-schema"] for letter in letters[1:4]] == ["hub.signal/1"] * 2 + ["hub.signal/2"]
        assert {letter["dlq-topic"] for letter in letters} == {SIGNALS.name}
        assert {letter["dlq-partition"] for letter in letters} == {str(HOME)}
        assert {(letter["dlq-attempts"], letter["dlq-reader"]) for letter in letters} == {("1", "desk")}
        assert all(int(letter["dlq-first-ns"]) <= int(letter["dlq-last-ns"]) for letter in letters)
        assert scene.letters[0].key == b"k" * 9
        assert (letters[-1]["dlq-cut"], len(scene.letters[-1].value or b"")) == (str(2**20), 64 * 1024)
        assert scene.done == [(USER, 1, "expired"), (USER, 2, "acted")]
        assert reading.reader.health().dead_letters == len(poison)

    virtual(run())


def test_a_dead_letter_that_cannot_be_written_delays_nobody_for_long() -> None:
    """It is counted, and the record stays where it is."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        scene.land(USER.encode(), b"\xff")
        scene.signal()
        scene.log.faults.refuse = 1.0
        async with scene.reader() as reading:
            await later(TTL_S - 1)
            health = reading.reader.health()

        assert scene.done == [(USER, 1, "acted")]
        assert (health.dead_letters, health.dead_letters_failed) == (0, 1)

    virtual(run())
