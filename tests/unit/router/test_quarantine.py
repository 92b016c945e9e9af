"""A model that crashes its replicas is kept from crashing all of them."""

from __future__ import annotations

from deployments.router.quarantine import Quarantine

SECOND = 1_000_000_000
NONE: frozenset[str] = frozenset()


def crashed_twice(model: str = "mlp@1") -> Quarantine:
    """A quarantine in which the model took two replicas down, the second at time 0."""
    quarantine = Quarantine(for_s=60)
    quarantine.crashed("r1", [model], 0)
    quarantine.crashed("r2", [model], 0)
    return quarantine


def test_one_crash_is_an_accident() -> None:
    """A single crash shuts nothing out: any model may have been in flight."""
    quarantine = Quarantine()
    quarantine.crashed("r1", ["mlp@1", "ridge@1"], 0)

    assert quarantine.shut_out(0) == NONE


def test_a_second_crash_shuts_the_model_out() -> None:
    """Two crashes without a success in between; other models are not touched."""
    quarantine = crashed_twice()

    assert quarantine.shut_out(59 * SECOND) == {"mlp@1"}


def test_a_success_in_between_clears_the_model() -> None:
    """An innocent bystander of one crash starts from zero after its next success."""
    quarantine = Quarantine()
    quarantine.crashed("r1", ["mlp@1", "ridge@1"], 0)
    quarantine.ended("ridge@1", succeeded=True)
    quarantine.crashed("r2", ["mlp@1", "ridge@1"], 0)

    assert quarantine.shut_out(0) == {"mlp@1"}


def test_a_crash_counts_once_however_many_calls_report_it() -> None:
    """All calls in flight on a dead replica fail; that is one crash."""
    quarantine = Quarantine()
    for _ in range(5):
        quarantine.crashed("r1", ["mlp@1"], 0)

    assert quarantine.shut_out(0) == NONE


def test_one_probe_after_the_time_is_up() -> None:
    """After 60 s the model may be tried by one call; while that is out, by no other."""
    quarantine = crashed_twice()
    assert quarantine.shut_out(60 * SECOND) == NONE

    quarantine.sent("mlp@1")

    assert quarantine.shut_out(61 * SECOND) == {"mlp@1"}


def test_a_successful_probe_ends_the_quarantine() -> None:
    """The first success clears the model."""
    quarantine = crashed_twice()
    quarantine.sent("mlp@1")
    quarantine.ended("mlp@1", succeeded=True)

    assert quarantine.shut_out(61 * SECOND) == NONE


def test_a_probe_that_crashes_starts_the_time_anew() -> None:
    """A third crash shuts the model out again, from then on."""
    quarantine = crashed_twice()
    quarantine.sent("mlp@1")
    quarantine.crashed("r3", ["mlp@1"], 61 * SECOND)

    assert quarantine.shut_out(120 * SECOND) == {"mlp@1"}
    assert quarantine.shut_out(121 * SECOND) == NONE


def test_a_probe_without_a_verdict_leaves_room_for_the_next() -> None:
    """A probe that was refused or cancelled says nothing; another call may probe."""
    quarantine = crashed_twice()
    quarantine.sent("mlp@1")
    quarantine.ended("mlp@1", succeeded=False)

    assert quarantine.shut_out(61 * SECOND) == NONE
