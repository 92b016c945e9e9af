"""Rate limiting by GCRA (the generic cell rate algorithm): one number per counter and no window edge.

A counter holds its *debt*: the time until it is empty again. A call adds `interval` to it and is allowed
while the sum stays within `burst` = amount x interval. So at most `amount` calls pass at once, then one per
interval; there is no instant at which two windows' worth can pass. The debt is kept as the time at which it
will be paid, which makes the counter a single value that needs no clean-up.

All times are integer microseconds: sums of them are exact.
"""

from __future__ import annotations

from typing import Final

from storage.ports import Rate, Standing

_US: Final = 1_000_000


def interval_us(rate: Rate) -> int:
    """Microseconds one call costs; rounded down, so that the whole amount always fits into one burst."""
    return max(1, rate.period_s * _US // rate.amount)


def burst_us(rate: Rate) -> int:
    """The largest debt a counter may have."""
    return rate.amount * interval_us(rate)


def debt_us(paid_at_us: int | None, rate: Rate, *, now_us: int) -> int:
    """Debt of a counter that is paid off at `paid_at_us`.

    It is cut to the burst, and stored so even by a refused call: a clock that stepped back must not lock
    anybody out for as long as the step was.
    """
    if paid_at_us is None:
        return 0
    return min(max(paid_at_us - now_us, 0), burst_us(rate))


def fits(debt: int, rate: Rate) -> bool:
    """Whether one more call is within the rate."""
    return debt + interval_us(rate) <= burst_us(rate)


def standing(debt: int, rate: Rate) -> Standing:
    """What a counter with this debt tells its caller."""
    left = burst_us(rate) - debt
    return Standing(
        rate=rate,
        remaining=max(left, 0) // interval_us(rate),
        reset_s=debt / _US,
        retry_after_s=max(interval_us(rate) - left, 0) / _US,
    )


LUA: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local debts, allowed = {}, 1
for i, key in ipairs(KEYS) do
  local interval, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local paid_at = tonumber(redis.call('GET', key) or now)
  debts[i] = math.min(math.max(paid_at - now, 0), burst)
  if debts[i] + interval > burst then allowed = 0 end
end
for i, key in ipairs(KEYS) do
  if allowed == 1 then debts[i] = debts[i] + tonumber(ARGV[2 * i - 1]) end
  if debts[i] > 0 then
    redis.call('SET', key, string.format('%.0f', now + debts[i]), 'PX', math.ceil(debts[i] / 1000))
  end
end
return {allowed, unpack(debts)}
"""
"""The same rule in one atomic step on the server, by the server's clock: KEYS are counters, ARGV holds
interval and burst of each. Returns whether the call is allowed, and the debts after it."""
