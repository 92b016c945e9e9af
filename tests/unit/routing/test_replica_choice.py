"""The choice among the replicas of one pool: rules one by one, then whole pools in virtual time."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from routing.ticketless.choice import CallEnd, ChoiceConfig, ReplicaChoice
from routing.ticketless.replica import Flight
from routing.ticketless.service_time import delay
from routing.ticketless.slots import SlotsGuess, guesses_up_to
from tests.unit.routing.replica_pool import ReplicaPool

MS = 1_000_000
SECOND = 1000 * MS


def a_choice(replicas: int = 3, *, capacity: int = 16, slots: int | None = 2) -> ReplicaChoice:
    """Replicas "0", "1", ... of which nothing is known."""
    choice = ReplicaChoice(ChoiceConfig(slots=slots))
    choice.replicas_updated([(str(number), capacity) for number in range(replicas)])
    return choice


def a_warm_choice(replicas: int = 3, *, capacity: int = 16) -> ReplicaChoice:
    """Each has answered five calls in 100 ms, the last at 1 s."""
    choice = a_choice(replicas, capacity=capacity)
    for _ in range(5):
        for number in range(replicas):
            answer(choice, str(number), at_ns=900 * MS)
    return choice


def answer(choice: ReplicaChoice, replica: str, *, at_ns: int, took_ms: int = 100) -> None:
    """One call, answered."""
    choice.finished(choice.sent(replica, at_ns), CallEnd.ANSWERED, at_ns + took_ms * MS)


def fail(choice: ReplicaChoice, replica: str, *, at_ns: int, times: int = 1) -> None:
    """Calls that fail within 1 ms."""
    for _ in range(times):
        choice.finished(choice.sent(replica, at_ns), CallEnd.FAILED, at_ns + MS)


def picks(choice: ReplicaChoice, now_ns: int, *, calls: int = 1, exclude: tuple[str, ...] = ()) -> set[str]:
    """Where calls that are never answered go, one after the other."""
    chosen = set()
    for seed in range(calls):
        name = choice.choose(now_ns, Random(seed), exclude)
        assert name is not None
        choice.sent(name, now_ns)
        chosen.add(name)
    return chosen


def could_pick(choice: ReplicaChoice, now_ns: int) -> set[str | None]:
    """Where the next call may go, by chance."""
    return {choice.choose(now_ns, Random(seed)) for seed in range(40)}


def test_nobody_is_chosen_where_nobody_is() -> None:
    """A pool without replicas, or with all of them excluded, has no choice to offer."""
    assert ReplicaChoice().choose(0, Random(0)) is None
    assert a_choice(2).choose(0, Random(0), exclude=("0", "1")) is None


def test_unknown_replicas_get_one_call_each_before_any_gets_two() -> None:
    """Of replicas that never answered every one is tried, with one call at a time."""
    assert picks(a_choice(5), 0, calls=5) == set("01234")


def test_a_new_replica_is_expected_to_be_like_the_others_and_starts_slowly() -> None:
    """It gets one call until it has answered, then two, then four, although it is the idlest by far."""
    choice = a_warm_choice(2)
    for name in ("0", "1"):
        for _ in range(6):
            choice.sent(name, SECOND)
    choice.replicas_updated([(name, 16) for name in ("0", "1", "2")])

    assert could_pick(choice, SECOND) == {"2"}
    flight = choice.sent("2", SECOND)
    assert "2" not in could_pick(choice, SECOND)
    choice.finished(flight, CallEnd.ANSWERED, SECOND + 100 * MS)
    choice.sent("2", SECOND + 100 * MS)
    assert could_pick(choice, SECOND + 100 * MS) == {"2"}
    choice.sent("2", SECOND + 100 * MS)
    assert "2" not in could_pick(choice, SECOND + 100 * MS)


def test_full_replicas_are_not_chosen() -> None:
    """A replica with as many calls as it takes is left out; with all of them full the caller has to wait."""
    choice = a_warm_choice(2, capacity=3)

    assert Counter(choice_of(choice, 6)) == {"0": 3, "1": 3}
    assert choice.choose(SECOND, Random(0)) is None


def choice_of(choice: ReplicaChoice, calls: int) -> list[str | None]:
    """So many calls at once, in the order in which they were placed."""
    chosen = []
    for seed in range(calls):
        name = choice.choose(SECOND, Random(seed))
        chosen.append(name)
        if name is not None:
            choice.sent(name, SECOND)
    return chosen


def test_the_shorter_queue_wins_among_equals() -> None:
    """Equally fast replicas differ by their queues; equal queues by chance, so that callers do not herd."""
    choice = a_warm_choice(3)
    choice.sent("0", SECOND)

    assert could_pick(choice, SECOND) == {"1", "2"}


def test_a_fast_replica_is_worth_a_queue() -> None:
    """Five times faster, it is chosen until its queue makes up for that."""
    choice = a_choice(2)
    for _ in range(5):
        answer(choice, "0", at_ns=0, took_ms=100)
        answer(choice, "1", at_ns=0, took_ms=500)
    chosen = []
    for seed in range(12):
        chosen.append(choice.choose(500 * MS, Random(seed)))
        choice.sent(str(chosen[-1]), 500 * MS)

    assert chosen.index("1") >= 6


def test_an_overdue_call_counts_before_it_returns() -> None:
    """A call that is out three times as long as usual makes its replica the slower one."""
    choice = a_warm_choice(2)
    choice.sent("0", SECOND)
    for _ in range(4):
        choice.sent("1", SECOND + 290 * MS)

    assert could_pick(choice, SECOND + 300 * MS) == {"1"}


def test_a_slow_replica_is_tried_again_ever_more_rarely() -> None:
    """The times between retries grow as long as it stays slow, and the share of calls it costs shrinks; but
    after 20 s it is tried in any case.
    """
    choice, now_ns = a_warm_choice(3), SECOND
    retried_ns: list[int] = []
    answer(choice, "0", at_ns=now_ns, took_ms=1000)
    while len(retried_ns) < 5:
        now_ns += 100 * MS
        for name in ("1", "2"):
            answer(choice, name, at_ns=now_ns - 100 * MS)
        if "0" in could_pick(choice, now_ns):
            retried_ns.append(now_ns)
            answer(choice, "0", at_ns=now_ns, took_ms=1000)
            now_ns += SECOND
    waits_ns = [later - earlier for earlier, later in pairwise(retried_ns)]

    assert waits_ns == sorted(waits_ns)
    assert 2 * waits_ns[0] < waits_ns[-1] < 21.2 * SECOND


def test_a_healed_replica_is_used_again_at_once() -> None:
    """One quick answer to a retry is enough."""
    choice = a_warm_choice(2)
    answer(choice, "0", at_ns=SECOND, took_ms=1000)
    assert could_pick(choice, 2 * SECOND) == {"1"}

    later_ns = 60 * SECOND
    answer(choice, "1", at_ns=later_ns)
    answer(choice, "0", at_ns=later_ns)

    assert could_pick(choice, later_ns + 100 * MS) == {"0", "1"}


def test_one_call_at_a_time_tries_a_slow_replica_anew() -> None:
    """While the retry is out no second call follows it, however busy the others are."""
    choice = a_warm_choice(2)
    answer(choice, "0", at_ns=SECOND, took_ms=1000)
    for _ in range(8):
        choice.sent("1", 5 * SECOND)

    assert could_pick(choice, 5 * SECOND) == {"0"}
    choice.sent("0", 5 * SECOND)
    assert could_pick(choice, 5 * SECOND) == {"1"}


def test_a_replica_that_fails_fast_does_not_attract() -> None:
    """Quick failures make it slow in the caller's eyes, and a run of them puts it out."""
    choice = a_warm_choice(3)
    fail(choice, "0", at_ns=SECOND, times=2)

    assert could_pick(choice, SECOND + MS) == {"1", "2"}
    for name in ("1", "2"):
        for _ in range(13):
            choice.sent(name, SECOND)
    fail(choice, "0", at_ns=SECOND + MS, times=3)
    assert could_pick(choice, SECOND + 3 * MS) <= {"1", "2"}


def test_failures_everywhere_put_nobody_out() -> None:
    """Where all fail none is better than another, and calls go on."""
    choice = a_warm_choice(4)
    for name in "0123":
        fail(choice, name, at_ns=SECOND, times=8)

    assert could_pick(choice, SECOND + MS) == set("0123")


def test_an_exception_now_and_then_costs_a_replica_little() -> None:
    """One failure lets it take one call at a time until it answers, no more than that."""
    choice = a_warm_choice(2)
    fail(choice, "0", at_ns=SECOND)

    assert could_pick(choice, SECOND + MS) == {"0", "1"}
    answer(choice, "0", at_ns=SECOND + MS)
    assert picks(choice, SECOND + 101 * MS, calls=4) == {"0", "1"}


def test_an_end_nobody_saw_is_a_failure_if_it_is_far_too_quick() -> None:
    """Black holes are shunned although the transport tells nothing; an ordinary end teaches the latency."""
    choice = a_warm_choice(3)
    for _ in range(2):
        choice.finished(choice.sent("0", SECOND), CallEnd.UNSEEN, SECOND + MS)
        choice.finished(choice.sent("1", SECOND), CallEnd.UNSEEN, SECOND + 100 * MS)

    assert "0" not in could_pick(choice, SECOND + 101 * MS)
    assert "1" in could_pick(choice, SECOND + 101 * MS)


def test_the_reader_of_a_stream_tells_what_became_of_it() -> None:
    """Streams that break are failures although they end in their usual time."""
    choice = a_warm_choice(3)
    flights = [choice.sent("0", SECOND) for _ in range(3)]
    for flight in flights:
        choice.finished(flight, CallEnd.UNSEEN, SECOND + 100 * MS)
        choice.told(flight, ok=False, now_ns=SECOND + 100 * MS)

    assert "0" not in could_pick(choice, SECOND + 101 * MS)
    choice.told(flights[0], ok=True, now_ns=SECOND + 102 * MS)
    assert picks(choice, 60 * SECOND, calls=3) == {"0", "1", "2"}


def test_a_silent_replica_is_out_until_it_replies() -> None:
    """A second without any reply and its calls overdue: out, even if the others are drowning."""
    choice = a_warm_choice(2, capacity=100)
    flights = [choice.sent("0", SECOND) for _ in range(3)]
    for _ in range(90):
        choice.sent("1", 2 * SECOND)

    assert could_pick(choice, 2 * SECOND + MS) == {"1"}
    for flight in flights:
        choice.finished(flight, CallEnd.ANSWERED, 3 * SECOND)
    assert could_pick(choice, 3 * SECOND) == {"0"}


def test_a_pool_that_never_answered_has_nobody_late() -> None:
    """Models that load for a minute at their first call are waited for."""
    choice = a_choice(2)
    picks(choice, 0, calls=2)

    assert could_pick(choice, 60 * SECOND) == {"0", "1"}


def test_a_replica_out_of_reach_is_out() -> None:
    """What cannot be called is not chosen, unless nothing else is left."""
    choice = a_warm_choice(2)
    choice.unreachable("0", SECOND)
    assert could_pick(choice, SECOND + 1) == {"1"}

    choice.unreachable("1", SECOND)
    assert could_pick(choice, SECOND + 1) == {"0", "1"}


def test_a_refusal_says_that_others_fill_the_replica() -> None:
    """It is full for a moment, which passes by itself because nobody tells when others' calls end."""
    choice = a_warm_choice(2, capacity=4)
    choice.finished(choice.sent("0", SECOND), CallEnd.REFUSED, SECOND)

    assert could_pick(choice, SECOND) == {"1"}
    assert could_pick(choice, 3 * SECOND) == {"0", "1"}


def test_what_a_replica_says_of_its_calls_counts_as_others() -> None:
    """Eight calls there of which one is ours: seven are somebody else's."""
    choice = a_warm_choice(2)
    flight = choice.sent("0", SECOND)
    choice.heard(flight, 8)
    for _ in range(4):
        choice.sent("1", SECOND)

    assert could_pick(choice, SECOND) == {"1"}


def test_a_place_held_for_a_call_counts_before_the_call_is_sent() -> None:
    """Serve's choose_replica holds a place first and sends later."""
    choice = a_warm_choice(2)
    choice.reserved("0", 1, SECOND)

    assert could_pick(choice, SECOND) == {"1"}


def test_giving_up_says_that_it_would_have_taken_longer() -> None:
    """A call given up after 2 s teaches at least that; one given up at once teaches nothing."""
    choice = a_warm_choice(2)
    choice.finished(choice.sent("0", SECOND), CallEnd.ABANDONED, SECOND + MS)
    assert could_pick(choice, SECOND + 2 * MS) == {"0", "1"}

    choice.finished(choice.sent("0", SECOND), CallEnd.ABANDONED, 3 * SECOND)
    answer(choice, "1", at_ns=3 * SECOND)
    assert could_pick(choice, 3 * SECOND + 100 * MS) == {"1"}


def test_calls_to_replicas_that_are_gone_are_forgotten() -> None:
    """A flight may end after its replica has left, or be none of this choice's."""
    choice = a_warm_choice(2)
    flight = choice.sent("0", SECOND)
    choice.replicas_updated([("1", 16)])
    choice.finished(flight, CallEnd.ANSWERED, 2 * SECOND)
    choice.told(flight, ok=False, now_ns=2 * SECOND)
    choice.heard(flight, 3)
    choice.finished(Flight("nobody", 0, 1, 0.0, 1.0, retry=False), CallEnd.FAILED, 2 * SECOND)

    assert could_pick(choice, 2 * SECOND) == {"1"}


def test_of_a_large_pool_some_are_looked_at() -> None:
    """The cost of a choice is bounded; the calls still spread."""
    choice = ReplicaChoice(ChoiceConfig(slots=2, scan=8))
    choice.replicas_updated([(str(number), 4) for number in range(200)])

    assert len(picks(choice, 0, calls=200)) > 150


@pytest.mark.parametrize("setting", [{"slotz": 2}, {"gain": "fast"}])
def test_a_wrong_setting_is_named(setting: dict[str, object]) -> None:
    """Settings come from whoever deploys: a wrong one is an error that says which."""
    with pytest.raises(ValidationError, match=next(iter(setting))):
        ChoiceConfig(**setting)


Steps = st.lists(
    st.tuples(
        st.sampled_from(["choose", "update", "unreachable", *CallEnd]),
        st.integers(0, 7),
        st.integers(-10, 5000),
    ),
    max_size=60,
)


@given(steps=Steps, slots=st.sampled_from([None, 1, 4]))
def test_no_course_of_events_breaks_it(steps: list[tuple[object, int, int]], slots: int | None) -> None:
    """Clock steps back, calls end in any order and way, replicas come and go: it chooses one that is there,
    not excluded and not full, or nobody.
    """
    choice, flights, there, now_ns = a_choice(4, capacity=3, slots=slots), [], set("0123"), 0
    for step, number, ms in steps:
        now_ns += ms * MS
        if step == "update":
            there = {str(replica) for replica in range(number)}
            choice.replicas_updated([(name, 3) for name in there])
        elif step == "unreachable":
            choice.unreachable(str(number), now_ns)
        elif step == "choose":
            chosen = choice.choose(now_ns, Random(ms), exclude=(str(number),))
            assert chosen is None or chosen in there - {str(number)}
            flights += [choice.sent(chosen, now_ns)] if chosen else []
            held = Counter(f.replica for f in flights if f.replica in there)
            assert not held or max(held.values()) <= 3
        elif flights:
            assert isinstance(step, CallEnd)
            choice.finished(flights.pop(number % len(flights)), step, now_ns)


@given(st.integers(1, 500))
def test_guesses_of_slots_reach_from_one_to_the_most(most: int) -> None:
    """Powers of two, and the most itself."""
    guesses = guesses_up_to(most)

    assert (guesses[0], guesses[-1]) == (1, most)
    assert list(guesses) == sorted(set(guesses))
    assert all(later <= 2 * earlier for earlier, later in pairwise(guesses))


def test_the_guess_that_errs_least_is_believed_and_the_smallest_of_equals() -> None:
    """Nothing learned: the smallest, which spreads calls most."""
    slots = SlotsGuess((1, 2, 4, 8))
    assert slots.best == 0
    slots.observe([])
    slots.observe([0.5, 0.2, 0.1, 0.1])

    assert slots.best == 2


def test_delay_grows_once_every_slot_is_taken() -> None:
    """Two slots: the third call waits half a service time, the fifth one and a half."""
    assert [delay(ahead, 2) for ahead in (0, 1, 2, 4)] == [1.0, 1.0, 1.5, 2.5]


class TestInAPool:
    """Eight replicas of two slots under Poisson load; what the choice makes of them as a whole."""

    def test_slots_are_learned(self) -> None:
        """Nobody says that a replica runs two calls at once."""
        pool = ReplicaPool(load=0.7)
        pool.run(30.0)

        assert pool.callers[0].slots == 2

    def test_slow_replicas_get_next_to_nothing(self) -> None:
        """Two of eight five times slower: their share stays below the share that p99 looks at."""
        run = ReplicaPool(lambda replica, _: 5.0 if replica < 2 else 1.0, load=0.5).run(60.0)

        assert run.share(0, 1) < 0.01
        assert run.p99_ms < 350

    @pytest.mark.parametrize("slow_s", [10.0, 300.0])
    @pytest.mark.parametrize("seed", range(5))
    def test_a_healed_replica_has_its_share_within_half_a_minute(self, slow_s: float, seed: int) -> None:
        """Ten times slower, for seconds or minutes, in a pool so idle that no call would ever need it."""
        healed_s = 5.0 + slow_s
        pool = ReplicaPool(
            lambda replica, at_s: 10.0 if replica == 0 and 5.0 < at_s < healed_s else 1.0,
            replicas=3,
            load=0.25,
            seed=seed,
        )
        run = pool.run(healed_s + 90.0)
        after = [replica for at_s, replica in run.picked_s if at_s > healed_s + 30.0]

        assert after.count(0) / len(after) > 0.25

    def test_a_moving_antagonist_is_followed(self) -> None:
        """Another replica five times slower every 5 s: p99 stays below that of one slow call."""
        victims = [Random(seed).randrange(8) for seed in range(20)]
        run = ReplicaPool(lambda replica, at_s: 5.0 if replica == victims[int(at_s / 5)] else 1.0).run(60.0)

        assert run.p99_ms < 500

    @pytest.mark.parametrize("callers", [1, 4])
    def test_a_black_hole_is_shunned(self, callers: int) -> None:
        """One of eight fails within 2 ms from the tenth second on: it costs next to none of the requests."""
        run = ReplicaPool(
            lambda replica, at_s: None if replica == 0 and at_s > 10 else 1.0, callers=callers
        ).run(70.0)

        assert run.failed / run.picks.total() < 0.003 * callers

    def test_a_frozen_replica_is_left_within_two_seconds(self) -> None:
        """Calls take for ever from the tenth second on; nobody follows later than two seconds after."""
        run = ReplicaPool(lambda replica, at_s: 1e6 if replica == 3 and at_s > 10 else 1.0).run(40.0)

        assert max(at_s for at_s, replica in run.picked_s if replica == 3) < 12.0

    def test_callers_that_know_the_same_do_not_herd(self) -> None:
        """Eight callers spread evenly over equal replicas."""
        run = ReplicaPool(callers=8, load=0.7).run(60.0)

        assert all(0.09 < run.share(replica) < 0.16 for replica in range(8))

    def test_the_same_seed_makes_the_same_choices(self) -> None:
        """Clock and randomness are passed in, so a run can be repeated."""
        assert ReplicaPool(seed=7).run(10.0).picked_s == ReplicaPool(seed=7).run(10.0).picked_s
