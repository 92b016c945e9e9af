"""How long each model's calls take: learned with shared credit, relaxing to the card, moved with the pool."""

from __future__ import annotations

import json
import math

import pytest

from models.card import ModelCard
from routing.beliefs.placement import Placement, ReplicaMeta
from routing.beliefs.speeds import DEPTHS, STEP_MS, SpeedConfig, Speeds, depth_of
from tests.support.cards import a_card
from tests.unit.routing.worlds import holding

QUICK, SLOW = a_card("quick", warm_ms=10.0), a_card("slow", warm_ms=40.0)
CONFIG = SpeedConfig()
NOW_MS = 1.7e12


def placed(**replicas: ReplicaMeta) -> Placement:
    """A placement of replicas by name."""
    return Placement.of(replicas)


def speeds_of(placement: Placement) -> Speeds:
    """Beliefs at a moment at which nothing was measured yet."""
    speeds = Speeds(placement, CONFIG)
    speeds.settle(NOW_MS)
    speeds.anchor()
    return speeds


def group(placement: Placement, card: ModelCard, *, hardware: str = "cpu") -> int:
    """The number of the card's group."""
    return placement.group_index["pool", hardware, str(card.key)]


def measured(
    speeds: Speeds, number: int, service_ms: float, *, times: int = 1, pace_variance: float = 0.0
) -> None:
    """Let calls on a replica of usual pace take so long."""
    for _ in range(times):
        ratio = service_ms / speeds.service_ms[0].item(number)
        speeds.observe_service(number, 0, ratio, pace_variance, at_most=math.inf)


@pytest.mark.parametrize(
    ("calls_per_slot", "depth"), [(0.0, 0), (1.0, 0), (1.1, 1), (2.0, 1), (3.0, 2), (4.0, 2), (50.0, 3)]
)
def test_depth_classes_a_queue(calls_per_slot: float, depth: int) -> None:
    """Served at once, after another, after some, after many."""
    assert depth_of(calls_per_slot) == depth < DEPTHS


def test_starts_from_the_warm_profile() -> None:
    """The unmeasured promise is the card's own, and a call that waits behind others scatters less."""
    placement = placed(a=holding(QUICK, SLOW))
    speeds = speeds_of(placement)

    assert [speeds.service_ms[0].item(group(placement, card)) for card in (QUICK, SLOW)] == [10.0, 40.0]
    tails = [speeds.tail[0][depth].item(group(placement, QUICK)) for depth in range(DEPTHS)]
    assert tails == sorted(tails, reverse=True)
    assert tails[0] > tails[-1] >= 1.0


def test_learns_one_group_and_no_other() -> None:
    """Calls of one model on one kind of hardware move its service time alone, at their own size."""
    placement = placed(a=holding(QUICK, SLOW), b=holding(QUICK, hardware="gpu"))
    speeds, number = speeds_of(placement), group(placement, QUICK)
    measured(speeds, number, 25.0, times=200)

    assert speeds.service_ms[0].item(number) == pytest.approx(25.0, rel=0.02)
    assert speeds.service_ms[1].item(number) == 10.0
    assert speeds.service_ms[0].item(group(placement, SLOW)) == 40.0
    assert speeds.service_ms[0].item(group(placement, QUICK, hardware="gpu")) == 10.0


def test_credit_goes_to_what_is_less_sure() -> None:
    """The same call says more of the model where the replica's pace is known than where it may explain it."""
    placement = placed(a=holding(QUICK))
    known, unknown = speeds_of(placement), speeds_of(placement)
    measured(known, 0, 20.0, pace_variance=0.0)
    measured(unknown, 0, 20.0, pace_variance=3.0)

    assert 10.0 < unknown.service_ms[0].item(0) < known.service_ms[0].item(0) < 20.0


def test_does_not_go_beyond_what_the_pace_left_unexplained() -> None:
    """Where the pace took nearly all of a huge error, the model's own speed takes no more than the rest."""
    placement = placed(a=holding(QUICK))
    speeds = speeds_of(placement)
    speeds.observe_service(0, 0, 500.0, 0.5, at_most=1.25)

    assert speeds.service_ms[0].item(0) == pytest.approx(12.5)


def test_certainty_grows_with_calls_and_fades() -> None:
    """Each call leaves less variance; what is not measured for long is as uncertain as at first."""
    speeds = speeds_of(placed(a=holding(QUICK)))
    first = speeds.variance(0, 0)
    measured(speeds, 0, 10.0, times=50)
    sure = speeds.variance(0, 0)
    speeds.settle(NOW_MS + 100 * CONFIG.settle_tau_ms)

    assert 0.0 < sure < first / 5
    assert speeds.variance(0, 0) == pytest.approx(first)


def test_relaxes_to_the_warm_profile_in_steps() -> None:
    """After tau exp(-1) of the difference is left; within a step nothing moves."""
    speeds = speeds_of(placed(a=holding(QUICK)))
    measured(speeds, 0, 50.0, times=300)
    beyond = speeds.service_ms[0].item(0) - 10.0

    assert not speeds.settle(NOW_MS + STEP_MS / 2)
    assert speeds.settle(NOW_MS + CONFIG.settle_tau_ms)
    assert speeds.service_ms[0].item(0) - 10.0 == pytest.approx(beyond * math.exp(-1), rel=1e-6)
    speeds.settle(NOW_MS + 100 * CONFIG.settle_tau_ms)
    assert speeds.service_ms[0].item(0) == pytest.approx(10.0)


@pytest.mark.parametrize("looks", [0, 1, 500])
def test_how_often_somebody_looked_makes_no_difference(looks: int) -> None:
    """Beliefs follow from what was told when; settling in between changes no bit of them."""
    speeds = speeds_of(placed(a=holding(QUICK)))
    measured(speeds, 0, 50.0, times=3)
    for number in range(looks):
        speeds.settle(NOW_MS + 20_000.0 * number / looks)
    speeds.settle(NOW_MS + 20_000.0)
    measured(speeds, 0, 50.0, times=3)

    plain = speeds_of(placed(a=holding(QUICK)))
    measured(plain, 0, 50.0, times=3)
    plain.settle(NOW_MS + 20_000.0)
    measured(plain, 0, 50.0, times=3)
    assert speeds.service_ms[0].tolist() == plain.service_ms[0].tolist()


def test_long_lives_do_not_grow_without_bound() -> None:
    """Told of a call every minute for a week, the numbers stay finite and right."""
    speeds = speeds_of(placed(a=holding(QUICK)))
    for minute in range(7 * 24 * 60):
        speeds.settle(NOW_MS + minute * 60_000.0)
        speeds.anchor()
        measured(speeds, 0, 20.0)

    assert 12.0 < speeds.service_ms[0].item(0) < 20.0
    assert 0.0 < speeds.variance(0, 0) < 0.25


def test_clock_that_went_back_a_little_is_waited_for_and_a_lot_is_followed() -> None:
    """Half a minute back nothing relaxes; hours back count from there on, with beliefs that stay finite."""
    speeds = speeds_of(placed(a=holding(QUICK)))
    measured(speeds, 0, 50.0, times=20)
    before = speeds.service_ms[0].item(0)

    assert not speeds.settle(NOW_MS - 30_000.0)
    assert speeds.settle(NOW_MS - 36_000_000.0)
    assert speeds.service_ms[0].item(0) == pytest.approx(before)
    speeds.anchor()
    measured(speeds, 0, 10.0, times=300)
    assert speeds.service_ms[0].item(0) < 15.0 < before


def test_spread_is_learned_by_depth() -> None:
    """Completions of thrice the prediction widen the promise of that queue depth and of no other."""
    speeds = speeds_of(placed(a=holding(QUICK)))
    other = speeds.tail[0][1].item(0)
    for _ in range(300):
        speeds.observe_completion((0, 0, 0), 3.0)

    assert speeds.tail[0][0].item(0) == pytest.approx(3.0)
    assert speeds.tail[0][1].item(0) == other
    assert speeds.spreads.get((0, 0, 0)) is not None
    assert speeds.spreads.get((0, 0, 1)) is None
    assert speeds.spread((0, 0, 1)).tail == pytest.approx(other)


def test_arrays_and_spreads_are_replaced_and_never_changed() -> None:
    """Whoever holds them, as a snapshot does, sees what was believed then."""
    speeds = speeds_of(placed(a=holding(QUICK)))
    service_ms, tail, spreads = speeds.service_ms, speeds.tail, speeds.spreads
    seen = [service_ms[0].tolist(), tail[0][0].tolist()]
    measured(speeds, 0, 50.0)
    speeds.observe_completion((0, 0, 0), 3.0)
    speeds.settle(NOW_MS + 60_000.0)

    assert [service_ms[0].tolist(), tail[0][0].tolist()] == seen
    assert spreads.get((0, 0, 0)) is None
    assert speeds.service_ms[0].tolist() != seen[0]


def test_moves_with_the_placement() -> None:
    """Groups keep what is known of them when numbers change; those that are gone are forgotten."""
    before = placed(a=holding(QUICK, SLOW))
    speeds = speeds_of(before)
    measured(speeds, group(before, SLOW), 80.0, times=50)
    measured(speeds, group(before, QUICK), 20.0, times=50)
    for _ in range(50):
        speeds.observe_completion((group(before, SLOW), 0, 0), 2.0)
    after = placed(a=holding(SLOW))
    moved = speeds.moved_to(after)

    was, now = group(before, SLOW), group(after, SLOW)
    assert was != now
    assert moved.service_ms[0].item(now) == pytest.approx(speeds.service_ms[0].item(was))
    assert moved.tail[0][0].item(now) == pytest.approx(speeds.tail[0][0].item(was))
    assert len(moved.service_ms[0]) == 1


def test_restored_speeds_go_on_alike() -> None:
    """Beliefs brought back from JSON learn and relax exactly as those they were exported from."""
    placement = placed(a=holding(QUICK, SLOW))
    speeds = speeds_of(placement)
    measured(speeds, 0, 33.0, times=7)
    speeds.observe_completion((0, 0, 2), 1.7)
    other = Speeds(placement, CONFIG)
    other.restore(json.loads(json.dumps(speeds.export())))

    for each in (speeds, other):
        each.settle(NOW_MS + 4000.0)
        measured(each, 0, 12.0)
        each.observe_completion((0, 0, 2), 0.9)
    assert [size.tolist() for size in other.service_ms] == [size.tolist() for size in speeds.service_ms]
    assert [[depth.tolist() for depth in size] for size in other.tail] == [
        [depth.tolist() for depth in size] for size in speeds.tail
    ]
    assert other.export() == speeds.export()
