"""The error gate: when a replica is out, for how long, and when the rules give way."""

from __future__ import annotations

import json

import pytest

from routing.beliefs.gate import ERRORS, UNREACHABLE, Ejection, ErrorGate, GateConfig, barred

CONFIG = GateConfig()
SECOND = 1_000_000_000


def failures_until_out(gate: ErrorGate, now_ns: int) -> int:
    """How many failures in a row it takes."""
    return next(number for number in range(1, 100) if gate.failed(now_ns))


def out(cause: str, *hosts: int, until_ns: int = 10) -> dict[int, Ejection]:
    """Ejections of the hosts."""
    return {host: Ejection(cause, until_ns) for host in hosts}


def test_four_failures_in_a_row_eject() -> None:
    """A few errors among successes are borne, a run of them is not."""
    gate = ErrorGate(CONFIG)
    for _ in range(50):
        assert not gate.failed(0)
        gate.succeeded()
        gate.succeeded()

    assert failures_until_out(ErrorGate(CONFIG), 0) == 4


def test_ejection_doubles_with_each_repetition_up_to_a_bound() -> None:
    """A replica that fails again when it is back stays out twice as long; health resets that."""
    gate, now_ns, out_s = ErrorGate(CONFIG), 0, []
    for _ in range(7):
        failures_until_out(gate, now_ns)
        assert gate.ejection
        out_s.append((gate.ejection.until_ns - now_ns) // SECOND)
        now_ns = gate.ejection.until_ns
    for _ in range(20):
        gate.succeeded()
    failures_until_out(gate, now_ns)

    assert out_s == [1, 2, 4, 8, 16, 30, 30]
    assert gate.ejection
    assert gate.ejection.until_ns - now_ns == SECOND


def test_failures_of_one_already_out_add_no_time() -> None:
    """Calls that were in flight when it was ejected do not eject it again."""
    gate = ErrorGate(CONFIG)
    failures_until_out(gate, 0)
    first = gate.ejection

    assert not any(gate.failed(1) for _ in range(16))
    assert gate.ejection is first


def test_success_ends_being_unreachable_but_no_ejection_for_errors() -> None:
    """Who answers can be reached; whether it answers well is another question."""
    gate = ErrorGate(CONFIG)
    gate.unreachable(0)
    assert gate.succeeded()
    assert gate.ejection is None

    failures_until_out(gate, 0)
    assert not gate.succeeded()
    assert gate.ejection is not None


def ejected(cause: str) -> ErrorGate:
    """A gate that is out from time 0."""
    gate = ErrorGate(CONFIG)
    if cause == ERRORS:
        failures_until_out(gate, 0)
    else:
        gate.unreachable(0)
    return gate


def half_open(cause: str) -> tuple[ErrorGate, int]:
    """A gate whose ejection has just ended, and the time."""
    gate = ejected(cause)
    assert gate.ejection
    return gate, gate.ejection.until_ns


@pytest.mark.parametrize("cause", [ERRORS, UNREACHABLE])
def test_after_an_ejection_one_probe_keeps_all_others_out(cause: str) -> None:
    """The first call that leaves is the probe; while it is out, the replica is barred like one ejected."""
    gate, now_ns = half_open(cause)
    assert not ejected(cause).sent(now_ns - 1)
    assert gate.sent(now_ns)
    assert gate.ejection

    assert set(barred(range(3), {0: gate.ejection}, CONFIG, now_ns + 1).replicas) == {0}
    assert not gate.sent(now_ns + 1)


@pytest.mark.parametrize("cause", [ERRORS, UNREACHABLE])
def test_probe_that_succeeds_closes(cause: str) -> None:
    """One success is enough to be in the choice like any other."""
    gate, now_ns = half_open(cause)
    gate.sent(now_ns)

    assert gate.succeeded()
    assert gate.ejection is None
    assert not gate.sent(now_ns)


def test_probe_that_fails_ejects_for_twice_as_long() -> None:
    """Even if the error average had come down meanwhile."""
    gate, now_ns = half_open(ERRORS)
    for _ in range(2):
        gate.succeeded()
    gate.sent(now_ns)

    assert gate.failed(now_ns)
    assert gate.ejection == Ejection(ERRORS, now_ns + 2 * SECOND)
    assert not gate.failed(now_ns + 1)


@pytest.mark.parametrize("cause", [ERRORS, UNREACHABLE])
def test_probe_without_a_verdict_or_without_end_lets_the_next_try(cause: str) -> None:
    """Neither a probe that was cancelled nor one that never comes back keeps a replica out for ever."""
    gate, now_ns = half_open(cause)
    gate.sent(now_ns)
    assert gate.undecided(now_ns + 1)
    assert gate.sent(now_ns + 1)
    assert gate.sent(now_ns + 1 + CONFIG.probe_ms * 1_000_000)
    assert not ErrorGate(CONFIG).undecided(0)


def test_state_survives_export_in_the_middle_of_a_probe() -> None:
    """A replayed gate decides as the recorded one did."""
    gate, now_ns = half_open(ERRORS)
    gate.sent(now_ns)
    again = ErrorGate(CONFIG)
    again.restore(json.loads(json.dumps(gate.export())))

    assert again.failed(now_ns) == gate.failed(now_ns) is True
    assert again.ejection == gate.ejection


@pytest.mark.parametrize("cause", [ERRORS, UNREACHABLE])
def test_ejected_host_is_out_until_it_runs_out(cause: str) -> None:
    """Out before `until_ns`, in from then on; the result says until when it holds."""
    ejections = out(cause, 0)

    assert set(barred(range(3), ejections, CONFIG, 9).replicas) == {0}
    assert barred(range(3), ejections, CONFIG, 9).until_ns == 10
    assert not barred(range(3), ejections, CONFIG, 10).replicas
    assert not barred(range(1, 3), ejections, CONFIG, 9).replicas


@pytest.mark.parametrize(
    ("hosts", "failing", "kept_out", "panic"),
    [(4, 1, 1, False), (4, 2, 2, False), (4, 3, 0, True), (4, 4, 0, True), (2, 1, 1, False), (1, 1, 0, True)],
)
def test_panic_uses_failing_hosts_rather_than_crush_the_rest(
    hosts: int, failing: int, kept_out: int, *, panic: bool
) -> None:
    """Up to half may be out for errors; beyond that all of them are used, and it is said so."""
    result = barred(range(hosts), out(ERRORS, *range(failing)), CONFIG, 0)

    assert (len(result.replicas), result.panic) == (kept_out, panic)


def test_fewer_than_minimum_hosts_are_never_out_for_errors() -> None:
    """Where there is too little choice, errors do not narrow it further."""
    strict = GateConfig(minimum_hosts=5, ejected_share=1.0)

    assert barred(range(4), out(ERRORS, 0), strict, 0).panic
    assert not barred(range(5), out(ERRORS, 0), strict, 0).panic


def test_panic_does_not_raise_the_dead() -> None:
    """Unreachable hosts stay out in a panic, unless there is nobody else at all."""
    three_of_four = out(ERRORS, 0, 1) | out(UNREACHABLE, 2)

    assert set(barred(range(4), three_of_four, CONFIG, 0).replicas) == {2}
    assert not barred(range(3), out(UNREACHABLE, 0, 1, 2), CONFIG, 0).replicas
