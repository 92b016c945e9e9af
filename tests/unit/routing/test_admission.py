"""Who may go now, who waits and who is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import Shed
from models.request import Priority, Requirements
from models.task import DataSize
from routing.protection.admission import Admission, AdmissionConfig, Entry, Reason, State

MS = 1_000_000
CRITICAL, BULK = Priority.CRITICAL, Priority.BULK


def asked(deadline_ms: int, priority: Priority = BULK, tenant: str = "t") -> Requirements:
    """A request whose deadline is so many milliseconds after time 0."""
    return Requirements(
        task="t",
        rows=1,
        data_size=DataSize.SMALL,
        deadline_ns=deadline_ms * MS,
        tenant=tenant,
        priority=priority,
    )


class Door:
    """An admission with its time in milliseconds, and what it told."""

    def __init__(
        self, places: int, *, max_waiting: int = 99, held_ms: int = 0, critical_share: float = 0.0
    ) -> None:
        """`held_ms`: what an admitted request takes, as learned from some before."""
        self.settled: list[Entry] = []
        config = AdmissionConfig(max_waiting=max_waiting, lead=99, critical_share=critical_share)
        self.core = Admission(config, places=places, settled=self.settled.append)
        for _ in range(20 if held_ms else 0):
            self.core.leave(self.core.enter(asked(9999), now_ns=0), now_ns=held_ms * MS)

    def enter(self, wanted: Requirements, now_ms: int = 0) -> Entry:
        return self.core.enter(wanted, now_ns=now_ms * MS)

    def leave(self, entry: Entry, now_ms: int = 0) -> None:
        self.core.leave(entry, now_ns=now_ms * MS, measured=False)


def refused(door: Door, wanted: Requirements, now_ms: int = 0) -> Shed:
    """The refusal, at once or by being given up on entering."""
    try:
        refusal = door.enter(wanted, now_ms).refusal
    except Shed as error:
        return error
    assert refusal, "it was not refused"
    return refusal


def test_inside_while_places_are_free_then_waiting() -> None:
    """Nobody waits without need, nobody is inside beyond the places."""
    door = Door(places=2)

    assert [door.enter(asked(100)).state for _ in range(3)] == [State.INSIDE, State.INSIDE, State.WAITING]
    assert (door.core.inside, door.core.waiting) == (2, 1)


def test_a_place_that_becomes_free_goes_to_critical_then_to_the_earliest_deadline() -> None:
    """The class counts before the deadline, the deadline before the arrival."""
    door = Door(places=1)
    inside = door.enter(asked(100))
    late, early = door.enter(asked(90)), door.enter(asked(50))
    critical = door.enter(asked(95, CRITICAL))
    for entry in (inside, critical, early, late):
        assert entry.state is State.INSIDE
        door.leave(entry)

    assert door.settled == [critical, early, late]
    assert door.core.inside == 0


def test_shed_at_once_if_wait_and_answer_pass_the_deadline() -> None:
    """100 ms for an answer, two places: one becomes free every 50 ms."""
    door = Door(places=2, held_ms=100)
    for _ in range(3):
        door.enter(asked(500, CRITICAL))
    refusal = refused(door, asked(140, CRITICAL, "other"))

    assert refusal.details["reason"] == Reason.WAIT_TOO_LONG
    assert refusal.details["priority"] == "critical"
    assert refusal.code == "shed"
    assert refusal.retry_after_s == pytest.approx(0.1)
    assert door.enter(asked(160, CRITICAL)).state is State.WAITING


def test_a_free_place_is_given_whatever_the_prediction() -> None:
    """Predictions cannot lock the door: when nobody is inside, the next is admitted and measured anew."""
    door = Door(places=1, held_ms=1000)

    assert door.enter(asked(10)).state is State.INSIDE


def test_some_places_are_for_critical_alone() -> None:
    """A critical request need not wait while bulk fills the ordinary places, and it overtakes."""
    door = Door(places=4, critical_share=0.25)
    bulk = [door.enter(asked(100)) for _ in range(5)]
    critical = [door.enter(asked(100, CRITICAL)) for _ in range(2)]
    assert [entry.state for entry in bulk[4:] + critical] == [State.WAITING, State.INSIDE, State.WAITING]

    for entry in bulk[:3]:
        door.leave(entry)
    assert door.settled == [critical[1], bulk[4]]
    assert door.core.inside == 4


def test_full_queue_gives_up_bulk_for_critical_and_the_latest_of_a_class() -> None:
    """The least important goes, and of these the latest; it is told."""
    door = Door(places=1, max_waiting=2)
    door.enter(asked(100))
    first, second = door.enter(asked(60)), door.enter(asked(70))

    assert refused(door, asked(80)).details["reason"] == Reason.QUEUE_FULL
    door.enter(asked(90, CRITICAL))
    assert (first.state, second.state) == (State.WAITING, State.SHED)
    door.enter(asked(95, CRITICAL))
    assert first.state is State.SHED
    assert refused(door, asked(50, BULK)).details["reason"] == Reason.QUEUE_FULL
    assert second in door.settled


def test_full_queue_gives_up_those_who_filled_it() -> None:
    """One tenant with a hundred requests does not keep another's first one out."""
    door = Door(places=1, max_waiting=100)
    flood = [door.enter(asked(50, tenant="flood")) for _ in range(101)]
    modest = door.enter(asked(90, tenant="modest"))

    assert modest.state is State.WAITING
    assert [entry.state for entry in flood].count(State.SHED) == 1


def test_turn_that_comes_too_late_is_refused_not_run() -> None:
    """When the place is free, only those go that can still be in time."""
    door = Door(places=1, held_ms=100)
    inside = door.enter(asked(999))
    late, good = door.enter(asked(250)), door.enter(asked(500))
    door.leave(inside, now_ms=160)

    assert (late.state, good.state) == (State.SHED, State.INSIDE)
    assert late.refusal
    assert late.refusal.details["reason"] == Reason.TOO_LATE


def test_expire_sheds_who_waits_and_leaves_others_alone() -> None:
    """A timer that rings for one that was admitted meanwhile changes nothing."""
    door = Door(places=1, held_ms=100)
    inside, waits = door.enter(asked(999)), door.enter(asked(400))
    door.core.expire(inside)
    door.core.expire(waits)

    assert door.core.latest_ns(waits) == 300 * MS
    assert (inside.state, waits.state, door.core.waiting) == (State.INSIDE, State.SHED, 0)


def test_leaving_twice_counts_once() -> None:
    """Places do not multiply."""
    door = Door(places=1)
    inside = door.enter(asked(100))
    door.leave(inside)
    door.leave(inside)

    assert door.core.inside == 0
    assert [door.enter(asked(100)).state for _ in range(2)] == [State.INSIDE, State.WAITING]


def test_more_places_admit_at_once_fewer_throw_nobody_out() -> None:
    """Capacity may change at any time; one place always remains."""
    door = Door(places=1)
    entries = [door.enter(asked(100)) for _ in range(4)]
    door.core.resize(3, now_ns=0)
    assert [entry.state for entry in entries].count(State.INSIDE) == 3

    door.core.resize(0, now_ns=0)
    for entry in entries[:3]:
        door.leave(entry)
    assert entries[3].state is State.INSIDE


def test_bulk_expects_critical_to_go_on_coming() -> None:
    """Where critical requests take most places, a bulk request waits longer for its own."""
    door = Door(places=1, held_ms=100)
    for _ in range(200):
        door.leave(door.enter(asked(9999, CRITICAL)))
    door.enter(asked(9999, CRITICAL))

    assert refused(door, asked(1000, BULK)).details["reason"] == Reason.WAIT_TOO_LONG
    assert door.enter(asked(1000, CRITICAL)).state is State.WAITING


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(1, 400), st.sampled_from(list(Priority)), st.integers(0, 2)),
        st.tuples(st.just("leave"), st.integers(0, 60)),
        st.tuples(st.just("expire"), st.integers(0, 60)),
        st.tuples(st.just("resize"), st.integers(0, 5)),
    ),
    max_size=120,
)


@given(ACTIONS, st.integers(0, 4))
def test_every_request_is_in_exactly_one_state_and_no_place_stays_empty(
    actions: list[tuple[object, ...]], max_waiting: int
) -> None:
    """Whatever happens: bounds hold, nobody waits beside a free place, each that waited is told once."""
    door, entries, places = Door(2, max_waiting=max_waiting, critical_share=0.5), [], 2
    waited: list[Entry] = []
    for now_ms, action in enumerate(actions):
        match action:
            case "enter", int(within), Priority() as priority, tenant:
                try:
                    entry = door.enter(asked(now_ms + within, priority, str(tenant)), now_ms)
                except Shed:
                    continue
                entries.append(entry)
                waited += [] if entry.state is State.INSIDE else [entry]
            case "leave", int(number) if number < len(entries):
                door.core.leave(entries[number], now_ns=now_ms * MS)
            case "expire", int(number) if number < len(entries):
                door.core.expire(entries[number])
            case "resize", int(size):
                places = max(1, size)
                door.core.resize(size, now_ns=now_ms * MS)
        states = [entry.state for entry in entries]
        assert states.count(State.INSIDE) == door.core.inside
        assert states.count(State.WAITING) == door.core.waiting <= max_waiting
        assert not door.core.waiting or door.core.inside >= places
        if any(entry.wanted.priority is CRITICAL and entry.state is State.WAITING for entry in entries):
            assert door.core.inside >= places + math.ceil(places / 2)
        assert all((entry.refusal is not None) >= (entry.state is State.SHED) for entry in entries)

    assert len(door.settled) == len(set(door.settled))
    assert set(door.settled) <= set(waited)
