"""What health says of the host's clock."""

from __future__ import annotations

import pytest

from deployments.gateway import host_clock


@pytest.mark.parametrize(
    ("kernel_ms", "allowed_ns", "says"),
    [
        (None, 0, "not synchronised, as far as the kernel knows; signals allow for 0 ms"),
        (2.5, 5_000_000, "at most 2.5 ms off; signals allow for 5 ms"),
        (7.0, 5_000_000, "at most 7.0 ms off; signals allow for 5 ms; raise `clock_error_ms`"),
    ],
)
def test_a_clock_that_may_be_further_off_than_allowed_is_named(
    monkeypatch: pytest.MonkeyPatch, kernel_ms: float | None, allowed_ns: int, says: str
) -> None:
    """The operator learns what to set, and to what."""
    monkeypatch.setattr(host_clock, "max_error_ms", lambda: kernel_ms)

    assert host_clock.clock_says(allowed_ns) == says


def test_the_kernel_is_asked() -> None:
    """It gives a bound, or says that it has none."""
    found_ms = host_clock.max_error_ms()

    assert found_ms is None or 0 <= found_ms < 16_000
