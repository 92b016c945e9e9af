"""Figures of outcomes: counted by what they have in common, over all time and over minutes."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decision import CandidateView, Degradation
from models.outcome import OK, DecisionOutcome
from routing.trials import analytics as module
from routing.trials.analytics import MINUTES_KEPT, Analytics, Breakdown, Breaking
from routing.trials.quantiles import ACCURACY
from routing.trials.tally import Tally, regret_ms
from tests.support.cards import a_card
from tests.unit.routing.worlds import START_MS, a_decision

MINUTE_NS = 60_000_000_000
START_NS = START_MS * 1_000_000
QUICK, WISE = a_card("quick"), a_card("wise")


def outcome(minute: int = 0, **changes: Any) -> DecisionOutcome:
    """A request that was answered in time, so many minutes after the start."""
    fields: dict[str, Any] = {
        "profile": "balanced",
        "tier": "pro",
        "outcome": OK,
        "met": True,
        "elapsed_ms": 10.0,
        "ended_ns": START_NS + minute * MINUTE_NS,
        "decision": a_decision("r1", QUICK),
    }
    return DecisionOutcome(**fields | changes)


def view(expected_ms: float, *, feasible: bool = True) -> CandidateView:
    """A shortlisted candidate."""
    return CandidateView(
        model="m@1",
        replica="r",
        pool="p",
        expected_ms=expected_ms,
        quantile_ms=expected_ms,
        p_meet=1.0,
        feasible=feasible,
        score=0.5,
        queue=0,
    )


def promising(p_meet: float) -> Any:
    """A decision that promises to be in time with this probability."""
    decision = a_decision("r1", QUICK)
    return decision.model_copy(update={"promise": decision.promise.model_copy(update={"p_meet": p_meet})})


def test_every_request_is_counted_once_in_each_breakdown() -> None:
    """By model, replica, profile and tier; refusals have no model, and all of them are named."""
    figures = Analytics()
    figures.observe(outcome())
    figures.observe(outcome(tier="free", decision=a_decision("r2", WISE), attempts=2, hedged=True))
    figures.observe(outcome(profile="cost_optimized", met=False, elapsed_ms=200.0))
    figures.observe(outcome(outcome="shed", met=False, decision=None))
    figures.observe(outcome(outcome="unknown_profile", profile="made up", met=None, decision=None))
    found = Breakdown.of(figures.since_start())

    assert found.total.model_dump(include={"requests", "picks", "answered", "met", "missed"}) == {
        "requests": 5,
        "picks": 3,
        "answered": 3,
        "met": 2,
        "missed": 2,
    }
    assert (found.total.sheds, found.total.hedges, found.total.second_attempts) == (1, 1, 1)
    assert found.total.refused == {"shed": 1, "unknown_profile": 1}
    assert {name: one.picks for name, one in found.by_model.items()} == {"quick@1": 2, "wise@1": 1}
    assert {name: one.picks for name, one in found.by_replica.items()} == {"r1": 2, "r2": 1}
    assert {name: one.requests for name, one in found.by_tier.items()} == {"free": 1, "pro": 4}
    assert {name: one.requests for name, one in found.by_profile.items()} == {
        "balanced": 3,
        "cost_optimized": 1,
        "other": 1,
    }


def test_minutes_pass_out_of_the_recent_and_stay_in_the_whole() -> None:
    """However long ago, and also for an outcome that comes late."""
    figures = Analytics()
    for minute in range(3 * MINUTES_KEPT):
        figures.observe(outcome(minute))
    figures.observe(outcome(0, elapsed_ms=20.0))
    now_ns = START_NS + (3 * MINUTES_KEPT - 1) * MINUTE_NS

    def recent(now_ns: int, minutes: int) -> int:
        return Breakdown.of(figures.recent(now_ns, minutes=minutes)).total.requests

    assert recent(now_ns, 1) == 1
    assert recent(now_ns, 5) == 5
    assert recent(now_ns, MINUTES_KEPT) == MINUTES_KEPT
    assert recent(now_ns + 60 * MINUTE_NS, 5) == 0
    assert Breakdown.of(figures.since_start()).total.requests == 3 * MINUTES_KEPT + 1


def test_cells_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes on top is counted under `other`; the totals stay exact."""
    monkeypatch.setattr(module, "CELLS_KEPT", 10)
    figures = Analytics()
    for number in range(100):
        figures.observe(outcome(number % (MINUTES_KEPT + 3), decision=a_decision(f"r{number}", QUICK)))
    found = Breakdown.of(figures.since_start())

    assert found.total.picks == sum(one.picks for one in found.by_replica.values()) == 100
    assert found.by_replica["other"].picks > 0


@given(st.integers(0, 200), st.lists(st.integers(0, 29), max_size=60), st.randoms(use_true_random=False))
def test_a_breakdown_agrees_with_itself_whatever_comes_meanwhile(
    at: int, before: list[int], rng: Any
) -> None:
    """Requests that end between its steps are in all of its figures or in none."""
    figures = Analytics()
    for replica in before:
        figures.observe(outcome(decision=a_decision(f"r{replica}", QUICK)))

    def interrupted(steps: Breaking) -> Breaking:
        for number, step in enumerate(steps):
            yield step
            if number < at:
                figures.observe(outcome(decision=a_decision(f"r{rng.randrange(30)}", WISE), tier="free"))

    found = Breakdown.of(interrupted(figures.since_start()))

    for group in (found.by_model, found.by_replica, found.by_profile, found.by_tier):
        assert sum(one.requests for one in group.values()) == found.total.requests
    assert found.total.requests >= len(before)


def test_no_step_of_a_breakdown_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cells there are, it is a few merges or the figures of one tally."""
    done: list[str] = []

    def counted(name: str) -> None:
        does = getattr(Tally, name)

        def count(*tallies: Tally) -> Any:
            done.append(name)
            return does(*tallies)

        monkeypatch.setattr(Tally, name, count)

    counted("merge")
    counted("figures")
    figures = Analytics()
    for number in range(500):
        figures.observe(outcome(decision=a_decision(f"r{number}", QUICK)))
    longest = 0
    for _ in figures.since_start():
        longest = max(longest, len(done))
        done.clear()

    assert 0 < longest <= 4


@given(st.lists(st.floats(0.01, 60_000.0), min_size=1, max_size=200), st.integers(0, 3))
def test_quantiles_are_within_one_percent(times_ms: list[float], parts: int) -> None:
    """Of a value that was seen, also after tallies were made one."""
    tallies = [Tally() for _ in range(parts + 1)]
    for number, time_ms in enumerate(times_ms):
        tallies[number % len(tallies)].add(outcome(elapsed_ms=time_ms))
    whole = Tally()
    for tally in tallies:
        whole.merge(tally)
    figures, ordered = whole.figures(), sorted(times_ms)

    for share, found in ((0.5, figures.p50_ms), (0.99, figures.p99_ms)):
        exact = ordered[int(share * (len(ordered) - 1))]
        assert found == pytest.approx(exact, rel=ACCURACY * 1.001)


def test_only_answers_have_a_completion() -> None:
    """A refusal in a microsecond makes nothing quicker."""
    tally = Tally()
    tally.add(outcome(outcome="nothing_feasible", elapsed_ms=0.001, decision=None))

    assert (tally.figures().p50_ms, tally.figures().p99_ms) == (None, None)


def test_coverage_holds_promises_against_what_came() -> None:
    """By tenth; promises that were kept as often as promised show as equal; who cannot say is left out."""
    rng, tally = Random(1), Tally()
    for _ in range(20_000):
        p_meet = rng.random()
        tally.add(outcome(decision=promising(p_meet), met=rng.random() < p_meet))
    tally.add(outcome(decision=promising(1.0), met=None))
    coverage = tally.figures().coverage

    assert [tenth.from_p for tenth in coverage] == [n / 10 for n in range(10)]
    assert sum(tenth.n for tenth in coverage) == 20_000
    for tenth in coverage:
        assert tenth.from_p <= tenth.promised <= tenth.from_p + 0.1
        assert tenth.met == pytest.approx(tenth.promised, abs=0.05)


def test_a_promise_of_certainty_is_in_the_last_tenth() -> None:
    """There is no eleventh."""
    tally = Tally()
    tally.add(outcome(decision=promising(1.0)))

    assert [(tenth.from_p, tenth.n) for tenth in tally.figures().coverage] == [(0.9, 1)]


def test_regret_is_against_the_quickest_that_fits() -> None:
    """Late candidates do not count; on one decision in sixteen, by its seed."""
    chosen = a_decision("r1", WISE, expected_ms=10.0)
    decision = chosen.model_copy(update={"shortlist": (view(1.0, feasible=False), view(7.0), view(10.0))})
    tally = Tally()
    for seed in range(32):
        tally.add(outcome(decision=decision.model_copy(update={"seed": seed})))

    assert regret_ms(decision) == 3.0
    assert regret_ms(chosen) == 0.0
    assert tally.figures().regret_ms == 3.0


def test_a_smaller_model_is_counted_as_degraded() -> None:
    """As any answer that is not what was asked."""
    tally = Tally()
    tally.add(outcome(decision=promising(1.0).model_copy(update={"degradation": Degradation.SMALLER_MODEL})))

    assert tally.figures().degraded == 1
