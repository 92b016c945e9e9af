"""The rules of waiting, on a clock that moves when told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.control.auth.lockout import (
    BY_SOURCE,
    EVERYBODY,
    FORGOTTEN_NS,
    OVER_ALL,
    TRUSTED_NS,
    Slowdown,
    attempted,
    source_of,
    succeeded,
)
from storage.postgres.login_failures import Tally

S = 10**9


class Attempts:
    """Attempts of several sources at one login."""

    def __init__(self) -> None:
        self.now_ns = 10**18
        self.tallies: dict[str, Tally] = {}

    def wait_s(self, source: str = "home", *, right: bool = False) -> float:
        """Try once; how long it would have to wait."""
        known = {name: self.tallies.get(name, Tally()) for name in (source, EVERYBODY)}
        attempt = attempted(known, source, self.now_ns)
        self.tallies |= attempt.tallies
        if attempt.wait_ns <= 0 and right:
            known = {name: self.tallies.get(name, Tally()) for name in (source, EVERYBODY)}
            self.tallies |= succeeded(known, source, self.now_ns)
        return attempt.wait_ns / S

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now_ns += int(seconds * S)


def test_each_failure_beyond_the_free_ones_doubles_the_wait() -> None:
    """Up to a quarter of an hour."""
    tries, waits = Attempts(), []
    for _ in range(15):
        assert tries.wait_s() == 0
        waits.append((tries.tallies["home"].blocked_until_ns - tries.now_ns) / S)
        tries.wait(waits[-1])

    assert waits == [0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


def test_waiting_in_vain_is_no_further_failure() -> None:
    """Who asks while it has to wait does not lengthen the wait."""
    tries = Attempts()
    for _ in range(BY_SOURCE.free + 1):
        assert tries.wait_s() == 0
    waits = [tries.wait_s() for _ in range(100)]

    assert set(waits) == {2.0}


def test_a_success_begins_the_count_anew() -> None:
    """And takes back what it had itself been counted as."""
    tries = Attempts()
    for _ in range(BY_SOURCE.free):
        tries.wait_s()
    tries.wait_s(right=True)

    assert tries.tallies["home"].failures == 0
    assert tries.tallies[EVERYBODY].failures == BY_SOURCE.free
    assert [tries.wait_s() for _ in range(BY_SOURCE.free)] == [0.0] * BY_SOURCE.free


def test_after_an_hour_the_count_begins_anew() -> None:
    """Failures of yesterday are a typing error of yesterday."""
    tries = Attempts()
    for _ in range(BY_SOURCE.free + 1):
        tries.wait_s()
    tries.now_ns += FORGOTTEN_NS + S
    tries.wait_s()

    assert tries.tallies["home"].failures == 1


def test_a_source_that_knew_the_password_never_waits_for_others() -> None:
    """For ninety days; then it is one of many."""
    tries = Attempts()
    tries.wait_s("home", right=True)
    for number in range(OVER_ALL.free + 5):
        tries.wait_s(f"guesser {number}")
    assert tries.wait_s("stranger") > 0
    assert tries.wait_s("home") == 0
    tries.now_ns += TRUSTED_NS
    tries.tallies[EVERYBODY] = Tally(50, tries.now_ns + S, tries.now_ns, None)
    assert tries.wait_s("home") == 1.0


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=200))
def test_whatever_others_do_the_owner_comes_in(steps: list[tuple[int, bool]]) -> None:
    """No sequence of other sources' attempts makes the known source wait."""
    tries = Attempts()
    tries.wait_s("home", right=True)
    for source, pause in steps:
        tries.wait_s(f"guesser {source}")
        tries.wait(0.5 if pause else 0)

    assert tries.wait_s("home", right=True) == 0


@given(st.integers(0, 10_000))
def test_a_wait_never_shrinks_and_never_exceeds_its_bound(failures: int) -> None:
    """However many there were."""
    rule = Slowdown(free=4, first_s=2, most_s=900)

    assert 0 <= rule.delay_ns(failures) <= rule.delay_ns(failures + 1) <= 900 * S


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("*", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
        ("unix:", "unknown"),
    ],
)
def test_what_counts_as_one_source(address: str | None, source: str) -> None:
    """An IPv4 address, or the network that one customer of a provider has; never the name of the sum."""
    assert source_of(address) == source
    assert source_of(address) != EVERYBODY
