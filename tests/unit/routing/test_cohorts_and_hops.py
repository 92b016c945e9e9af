"""What replicas have in common: which are alike, the middle of their paces, usual load, the way there."""

from __future__ import annotations

import json
import math

import pytest

from routing.beliefs.cohorts import CohortBeliefs
from routing.beliefs.hops import HopConfig, Hops
from routing.beliefs.placement import Placement
from tests.support.cards import a_card
from tests.unit.routing.worlds import holding

KIND = ("pool", "cpu")
A, B = a_card("a"), a_card("b")


def test_cohort_is_of_one_pool_one_hardware_and_the_same_models() -> None:
    """Replicas that differ in any of the three are of different cohorts, and groups span cohorts."""
    placement = Placement.of(
        {
            "1": holding(A, B),
            "2": holding(B, A),
            "3": holding(A),
            "4": holding(A, B, hardware="gpu"),
            "5": holding(A, B, pool="far"),
        }
    )
    names = [{placement.replicas[replica] for replica in cohort.replicas} for cohort in placement.cohorts]

    assert sorted(names, key=min) == [{"1", "2"}, {"3"}, {"4"}, {"5"}]
    assert len(placement.groups) == 6
    assert placement.group_of(placement.index["1"], "a@1") == placement.group_of(placement.index["3"], "a@1")
    assert placement.group_of(placement.index["3"], "b@1") is None


def test_numbering_does_not_depend_on_the_order_of_arrival() -> None:
    """The same replicas told in another order are numbered alike, so that a replay finds the same."""
    metas = {"x": holding(A, B), "y": holding(B, hardware="gpu"), "z": holding(A, pool="far")}
    first, second = Placement.of(metas), Placement.of(dict(reversed(metas.items())))

    assert first.replicas == second.replicas
    assert first.group_index == second.group_index
    assert [cohort.replicas for cohort in first.cohorts] == [cohort.replicas for cohort in second.cohorts]


def test_middle_is_the_median_and_relaxes_to_the_warm_profile() -> None:
    """One slow replica does not move it; unmeasured for minutes the warm profile is believed right again."""
    beliefs = CohortBeliefs(forecast=True)
    assert beliefs.middle(KIND, 0.0) == 1.0
    beliefs.measured(KIND, 1000.0)
    beliefs.settle(1000.0, lambda _: [1.5, 2.0, 50.0])

    assert beliefs.middle(KIND, 1000.0) == 2.0
    assert beliefs.middle(KIND, 31_000.0) == pytest.approx(1.0 + math.exp(-1))
    assert beliefs.middle(KIND, 1e9) == pytest.approx(1.0)
    assert beliefs.middle(("pool", "gpu"), 1000.0) == 1.0


def test_usual_load_follows_reports_slowly_and_fades() -> None:
    """One busy moment is not usual; many are; and a pool not heard of is expected to be idle."""
    beliefs = CohortBeliefs(forecast=True)
    beliefs.heard("pool", 10.0, 0.0)
    once = beliefs.usual("pool", 0.0)
    for _ in range(200):
        beliefs.heard("pool", 10.0, 0.0)

    assert 0.0 < once < 1.0
    assert beliefs.usual("pool", 0.0) == pytest.approx(10.0, rel=0.01)
    assert beliefs.usual("pool", 60_000.0) == pytest.approx(0.0, abs=0.01)
    assert beliefs.usual("far", 0.0) == 0.0


def test_without_forecast_no_load_is_usual() -> None:
    """The switch by which it is measured whether the forecast helps."""
    beliefs = CohortBeliefs(forecast=False)
    for _ in range(200):
        beliefs.heard("pool", 10.0, 0.0)

    assert beliefs.usual("pool", 0.0) == 0.0


def test_restored_cohorts_believe_the_same() -> None:
    """JSON holds all of it."""
    beliefs, other = CohortBeliefs(forecast=True), CohortBeliefs(forecast=True)
    beliefs.measured(KIND, 1000.0)
    beliefs.settle(1000.0, lambda _: [1.5, 2.0, 50.0])
    beliefs.heard("pool", 10.0, 0.0)
    other.restore(json.loads(json.dumps(beliefs.export())))

    assert other.export() == beliefs.export()
    assert other.middle(KIND, 5000.0) == beliefs.middle(KIND, 5000.0)


def test_way_starts_as_configured_and_follows_what_is_measured() -> None:
    """A local pool starts at next to nothing; measurements count a tenth each, the first also as the usual
    way, which fades in half a minute.
    """
    hops = Hops(HopConfig())
    hops.known("far", local=False)
    hops.known("own", local=True)
    assert hops.at(0.0) == {"far": 2.0, "own": 0.05}

    hops.observe("far", 12.0, 1000.0)
    assert hops.at(1000.0) == pytest.approx({"far": 3.0, "own": 0.05})
    assert hops.at(31_000.0)["far"] == pytest.approx(2.0 * 1.5 ** math.exp(-1))


def test_a_way_is_as_usual_again_seconds_after_an_overload() -> None:
    """Half a minute of 5 ms, then some seconds in which replies wait for a second: whoever believed that for
    long would refuse every call that could teach it better.
    """
    hops, now_ms = Hops(HopConfig()), 0.0
    hops.known("far", local=False)
    for _ in range(600):
        hops.observe("far", 5.0, now_ms := now_ms + 50.0)
    assert 4.5 < hops.at(now_ms)["far"] <= 5.0
    for _ in range(80):
        hops.observe("far", 1000.0, now_ms := now_ms + 50.0)

    assert hops.at(now_ms)["far"] > 900.0
    assert hops.at(now_ms + 5000.0)["far"] < 25.0
    assert hops.at(now_ms + 10_000.0)["far"] < 12.0


def test_pool_known_again_keeps_its_way() -> None:
    """A pool told again, as with every change of its replicas, is not forgotten; JSON keeps it, too."""
    hops, other = Hops(HopConfig()), Hops(HopConfig())
    hops.known("far", local=False)
    hops.observe("far", 12.0, 0.0)
    hops.known("far", local=False)
    other.restore(json.loads(json.dumps(hops.export())))

    assert hops.at(0.0) == other.at(0.0) == pytest.approx({"far": 3.0})


def test_a_replica_that_is_stopped_does_not_move_the_pool_away() -> None:
    """What is too long for a way is handed back, to be charged to the replica and not to its neighbours."""
    hops = Hops(HopConfig())
    hops.known("pool", local=False)

    beyond_ms = hops.observe("pool", 195.0, 0.0)

    assert hops.at(0.0)["pool"] < 4.0
    assert beyond_ms > 150.0
    assert hops.observe("pool", 3.0, 0.0) == 0.0
