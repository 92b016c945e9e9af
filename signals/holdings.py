"""What every account of a partition was last asked to hold, and how often of late: folded from valid signals.

It decides what the next signal may ask for (`signals/projection.py`), so an owner restores it from the log
like the sequences. It knows what was asked, not what a broker did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from models.signal import Kind

SEPARATOR: Final = "\x1f"
"""Occurs in no user id, account, strategy or symbol."""
_MINUTE_NS: Final = 60 * 10**9


def account_key(user_id: str, account_id: str) -> str:
    """Names an account of a user."""
    return f"{user_id}{SEPARATOR}{account_id}"


def subscription_key(account: str, strategy: str, symbol: str) -> str:
    """Names a subscription of an account."""
    return SEPARATOR.join((account, strategy, symbol))


class Asked(NamedTuple):
    """What accounts were asked to hold of a symbol, by account; 0 closes. `limited` are the subscriptions of
    those that have a limit per minute, and the limits.
    """

    symbol: str
    targets: Mapping[str, float]
    limited: Sequence[tuple[str, int]] = ()


class Holdings:
    """One writer; `above` makes a view in which signals count that are not in the log yet."""

    def __init__(self, below: Holdings | None = None) -> None:
        self._below = below
        self._held: dict[str, dict[str, float]] = {}
        self._acted: dict[str, deque[int]] = {}

    @classmethod
    def restored(
        cls, held: Mapping[str, Mapping[str, float]], acted: Mapping[str, Iterable[int]]
    ) -> Holdings:
        """As `held` and `acted` of an earlier one said."""
        holdings = cls()
        holdings._held = {symbol: dict(accounts) for symbol, accounts in held.items()}
        holdings._acted = {key: deque(times, len(tuple(times))) for key, times in acted.items()}
        return holdings

    def above(self) -> Holdings:
        """A view of this one that can go on while this one stays as it is."""
        return Holdings(self)

    def holder(self, symbol: str) -> Callable[[str], float | None]:
        """Answers per account what it holds of the symbol; None or 0: nothing."""
        own = self._held.get(symbol)
        if self._below is None:
            return (own if own is not None else {}).get
        below = self._below.holder(symbol)
        return _layered(own, below) if own else below

    def exposure(self, account: str, *, besides: str) -> float:
        """The sizes of what the account holds of all other symbols, summed."""
        return sum(abs(self.holder(symbol)(account) or 0.0) for symbol in self._symbols() - {besides})

    def full_at(self, subscription: str, limit: int, now_ns: int) -> bool:
        """Whether `limit` signals of the last 60 s asked for something already."""
        times = self._times(subscription)[-limit:]
        return len(times) == limit and now_ns - times[0] < _MINUTE_NS

    def ask(self, asked: Asked, at_ns: int) -> None:
        """These signals are valid; `at_ns` is when their slot was answered."""
        self._held.setdefault(asked.symbol, {}).update(asked.targets)
        for subscription, limit in asked.limited:
            times = (*self._times(subscription), at_ns)[-limit:]
            self._acted[subscription] = deque(times, limit)

    @property
    def held(self) -> dict[str, dict[str, float]]:
        """By symbol and account, without accounts that hold nothing."""
        open_ = {
            symbol: {account: target for account, target in accounts.items() if target}
            for symbol, accounts in self._held.items()
        }
        return {symbol: accounts for symbol, accounts in open_.items() if accounts}

    @property
    def acted(self) -> dict[str, tuple[int, ...]]:
        """By limited subscription, when its latest signals asked for something."""
        return {subscription: tuple(times) for subscription, times in self._acted.items()}

    def _times(self, subscription: str) -> tuple[int, ...]:
        own = self._acted.get(subscription)
        if own is None and self._below is not None:
            return self._below._times(subscription)  # noqa: SLF001 - of its own kind
        return tuple(own or ())

    def _symbols(self) -> set[str]:
        return self._held.keys() | (self._below._symbols() if self._below else set())  # noqa: SLF001 - likewise


def asks(kind: str) -> bool:
    """Whether a signal of the kind asks for anything."""
    return kind != Kind.ABSTAIN


def _layered(own: Mapping[str, float], below: Callable[[str], float | None]) -> Callable[[str], float | None]:
    def held(account: str) -> float | None:
        target = own.get(account)
        return below(account) if target is None else target

    return held
