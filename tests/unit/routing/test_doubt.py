"""A pool that is believed too slow is asked again, one call at a time: a refusal teaches nothing."""

from __future__ import annotations

import json
from random import Random

import pytest

from models.decision import Decision
from models.errors import NothingFeasible
from routing.beliefs.doubt import Doubt, DoubtConfig
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable, Outcome
from tests.unit.routing.beliefs import CARD, ns
from tests.unit.routing.worlds import a_report, a_table, holding, the_profiles, wants

ENGINE = Engine(the_profiles())
CATALOGUE = Catalogue.of([CARD], version=1)
WITHIN_MS = 60


def decided(table: LoadTable, at_ms: int, *, within_ms: float = WITHIN_MS) -> Decision:
    """A decision for a call of 10 ms, by its card."""
    load = table.snapshot(ns(at_ms))
    wanted = wants(ns(at_ms) // 1_000_000, within_ms=within_ms)
    return ENGINE.decide(wanted, CATALOGUE, load, now_ns=ns(at_ms), rng=Random(at_ms))


def called(table: LoadTable, at_ms: int, *, takes_ms: int) -> str:
    """One request, and what became of it when it ended: `ok`, `late` or `refused`."""
    try:
        decision = decided(table, at_ms)
    except NothingFeasible:
        return "refused"
    flight = table.sent(decision, rows=1, now_ns=ns(at_ms))
    late = takes_ms > WITHIN_MS
    report = a_report(decision.replica, seq=at_ms, service_ms=float(takes_ms))
    table.finished(
        flight,
        outcome=Outcome.TIMEOUT if late else Outcome.OK,
        elapsed_ms=min(takes_ms + 2.0, WITHIN_MS),
        now_ns=ns(at_ms + min(takes_ms, WITHIN_MS)),
        report=None if late else report,
    )
    return "late" if late else "ok"


def refuses(table: LoadTable, at_ms: int) -> bool:
    """Whether a request would be refused."""
    try:
        decided(table, at_ms)
    except NothingFeasible:
        return True
    return False


def lived(table: LoadTable, begin_ms: int, end_ms: int, *, takes_ms: int) -> list[str]:
    """A request every 100 ms, each after the one before it has ended."""
    return [called(table, at_ms, takes_ms=takes_ms) for at_ms in range(begin_ms, end_ms, 100)]


def a_slow_spell() -> LoadTable:
    """Twenty good seconds, and then two in which every answer takes a second."""
    table = a_table({name: holding(CARD) for name in ("a", "b")})
    assert set(lived(table, 0, 20_000, takes_ms=10)) == {"ok"}
    outcomes = lived(table, 20_000, 22_000, takes_ms=1000)
    assert "refused" in outcomes
    return table


def test_a_spell_that_is_over_is_soon_forgotten() -> None:
    """Though every deadline is shorter than what was learned, so that nobody would ever call again."""
    after = lived(a_slow_spell(), 22_000, 42_000, takes_ms=10)

    assert after.index("ok") <= 20
    assert set(after[100:]) == {"ok"}


def test_a_pool_that_stays_slow_costs_ever_fewer_calls() -> None:
    """Of a minute's requests a few come late; all the others are refused at once."""
    outcomes = lived(a_slow_spell(), 22_000, 82_000, takes_ms=1000)

    assert set(outcomes) == {"late", "refused"}
    assert outcomes[300:].count("late") <= 10


def test_one_call_at_a_time_is_out_for_it() -> None:
    """Who asks while it is out is refused, and the decision says that it was made to learn."""
    table = a_slow_spell()
    at_ms = next(at_ms for at_ms in range(22_000, 40_000, 100) if not refuses(table, at_ms))
    first = decided(table, at_ms)
    table.sent(first, rows=1, now_ns=ns(at_ms))

    assert first.explored
    assert first.promise.quantile_ms > first.budget_ms
    assert refuses(table, at_ms)


def test_no_card_is_doubted() -> None:
    """Where the card itself says that there is not enough time, nobody is asked in vain."""
    table = a_table({"a": holding(CARD)})

    with pytest.raises(NothingFeasible):
        decided(table, 0, within_ms=8)


def test_a_queue_is_no_belief() -> None:
    """A replica that others keep busy is late for a reason that asking it would make worse."""
    table = a_table({"a": holding(CARD)})
    flight = table.sent(decided(table, 0), rows=1, now_ns=ns())
    busy = a_report("a", queued=30, in_service=1)
    table.finished(flight, outcome=Outcome.OK, elapsed_ms=12.0, now_ns=ns(), report=busy)

    with pytest.raises(NothingFeasible):
        decided(table, 0)


def test_the_pause_doubles_until_one_is_in_time() -> None:
    """Late calls double it up to its longest; the first in time ends it, and other calls change nothing."""
    doubt, pauses, now_ms = Doubt(DoubtConfig()), [], 0.0
    for number in range(9):
        assert doubt.allowed(now_ms)
        doubt.asked(number)
        assert not doubt.allowed(now_ms)
        doubt.ended(number + 1000, now_ms, in_time=True)
        doubt.ended(number, now_ms, in_time=False)
        restored = Doubt(DoubtConfig())
        restored.restore(json.loads(json.dumps(doubt.export())))
        pauses.append(next(ms for ms in range(0, 10_000, 100) if restored.allowed(now_ms + ms)))
        now_ms += pauses[-1]
    doubt.asked(9)
    doubt.ended(9, now_ms, in_time=True)

    assert pauses == [200, 400, 800, 1600, 3200, 6400, 6400, 6400, 6400]
    assert doubt.allowed(now_ms)
