"""What second attempts may cost: a share of the first ones, so that trouble cannot double the load.

Each first attempt earns a part of a token, each second one costs a whole token. What is saved is bounded and
lapses, so that a quiet hour does not pay for a storm.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from models.base import Frozen
from routing.latency import faded


class BudgetConfig(Frozen):
    """`share` of first attempts may be followed by a second; of what that allows at most `saved` tokens are
    kept, and they fade with `tau_ms`. `least_per_s` tokens a second are there in any case, for processes with
    few calls.
    """

    share: Annotated[float, Field(ge=0, le=1)]
    saved: Annotated[float, Field(ge=1, le=1e6)] = 100.0
    tau_ms: Annotated[float, Field(gt=0)] = 10_000.0
    least_per_s: Annotated[float, Field(ge=0, le=1e6)] = 0.0


RETRIES: Final = BudgetConfig(share=0.1, saved=100.0, least_per_s=10.0)
"""Second attempts after a replica did not answer."""
HEDGES: Final = BudgetConfig(share=0.02, saved=10.0, tau_ms=600_000.0)
"""Second attempts beside a first one that is late."""
RESCUES: Final = BudgetConfig(share=0.0, least_per_s=2.0)
"""The same where it is the last chance, and what was saved has gone to calls that were merely late."""


class AttemptBudget:
    """The tokens of one process and one purpose. Belongs to one thread."""

    def __init__(self, config: BudgetConfig) -> None:
        self._config = config
        self._tokens = 0.0
        self._most_floor = max(1.0, config.least_per_s) if config.least_per_s else 0.0
        self._floor = self._most_floor
        self._now_ns: int | None = None

    def earn(self, now_ns: int) -> None:
        """A first attempt was made."""
        self._settle(now_ns)
        self._tokens = min(self._config.saved, self._tokens + self._config.share)

    def spend(self, now_ns: int) -> bool:
        """Whether a second attempt may be made; if so, it is paid."""
        self._settle(now_ns)
        if self._tokens >= 1.0:
            self._tokens -= 1.0
        elif self._floor >= 1.0:
            self._floor -= 1.0
        else:
            return False
        return True

    def _settle(self, now_ns: int) -> None:
        """Let time pass: savings fade, what is there in any case grows. A clock set back counts nothing."""
        before, self._now_ns = self._now_ns, now_ns
        if before is None or now_ns <= before:
            return
        passed_ms = (now_ns - before) / 1e6
        self._tokens *= faded(passed_ms, self._config.tau_ms)
        grown = self._config.least_per_s * passed_ms / 1e3
        self._floor = min(self._most_floor, self._floor + grown)
