"""What a replica measures of a model that it loads: its speed on this machine, its memory, its loads."""

from __future__ import annotations

import pytest

from deployments.pool import own_speed
from deployments.pool.load_times import LoadTimes
from deployments.pool.loader import memory_of
from deployments.pool.own_speed import own_profile
from inference.session import Session
from models.card import ModelCard, WarmProfile
from tests.unit.inference.tiny import artefact, card_of

MODEL = artefact()


def measured(*profiles: WarmProfile) -> Session:
    """A session of a model that was measured elsewhere."""
    card = ModelCard.model_validate(card_of(MODEL))
    return Session(MODEL, card.model_copy(update={"warm": profiles}))


def profile(rows: int, p50_ms: float) -> WarmProfile:
    """A point of a warm profile whose tail is three times its middle."""
    return WarmProfile(rows=rows, p50_ms=p50_ms, p99_ms=3 * p50_ms, n=100)


def test_a_machine_of_another_speed_says_its_own_times() -> None:
    """All by the same ratio, since it measures one of them: here a machine that is far quicker."""
    slow = measured(profile(1, 1000.0), profile(64, 2000.0))

    one, many = own_profile(slow)

    assert 0 < one.p50_ms < 100
    assert many.p50_ms == pytest.approx(2 * one.p50_ms)
    assert one.p99_ms == pytest.approx(3 * one.p50_ms)


@pytest.mark.parametrize(("here_ms", "said_ms"), [(0.9, 1.0), (1.4, 1.0), (1.6, 1.6), (0.6, 0.6)])
def test_a_difference_that_may_be_chance_is_none(
    monkeypatch: pytest.MonkeyPatch, here_ms: float, said_ms: float
) -> None:
    """Or no two replicas of a kind would say the same."""
    session = measured(profile(1, 0.5), profile(64, 1.0), profile(256, 4.0))
    monkeypatch.setattr(
        own_speed, "warm_profile", lambda *_, sizes, **__: tuple(profile(size, here_ms) for size in sizes)
    )

    few, middle, many = own_profile(session)

    assert [one.p50_ms for one in (few, middle, many)] == pytest.approx(
        [0.5 * said_ms, said_ms, 4.0 * said_ms]
    )


def test_a_model_that_was_never_measured_is_measured_here() -> None:
    """One row tells more than nothing."""
    (only,) = own_profile(measured())

    assert only.rows == 1
    assert only.p50_ms > 0


def test_a_load_takes_what_loads_of_the_model_took_as_a_rule() -> None:
    """One that was slow for once does not count, and others' loads do not either."""
    times = LoadTimes()
    for load_ms in (10.0, 500.0, 12.0):
        times.took("a@1", load_ms)
    times.took("b@1", 70.0)

    assert (times.usual_ms("a@1"), times.usual_ms("b@1"), times.usual_ms("c@1")) == (12.0, 70.0, 0.0)
    (cold,) = times.cold("b@1", [profile(1, 1.0)])
    assert (cold.p50_ms, cold.n) == (71.0, 1)

    times.forget("a@1")
    assert times.usual_ms("a@1") == 0.0


def test_how_far_loads_scatter_is_learned_from_those_of_all_models() -> None:
    """A store whose answers vary makes every promise of a load wider."""
    steady, wild = LoadTimes(), LoadTimes()
    for number in range(200):
        steady.took(f"m{number % 10}", 10.0)
        wild.took(f"m{number % 10}", 10.0 if number % 20 < 19 else 300.0)

    narrow, wide = (times.cold("m1", [profile(1, 1.0)])[0].p99_ms for times in (steady, wild))

    assert narrow < 50
    assert wide > 200


def test_memory_grows_with_the_artefact() -> None:
    """From what an empty session takes."""
    assert memory_of(b"") > 100_000
    assert memory_of(b"x" * 1000) - memory_of(b"") == 2000
