"""What one cell of the benchmark asks for, and what came of it: plain data, which travels as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

REPLICAS: Final = 8
"""Of a pool that sleeps."""
MODEL_REPLICAS: Final = 2
"""Of a pool that runs a model: as many as the smallest machine has cores."""


@dataclass(frozen=True)
class Act:
    """Something that happens `at_s` seconds after the start of the cell; None leaves as it is.

    `slower`: how many times slower replicas are, by number; 0 means failing at once, the others run as ever.
    `shown`: how many replicas the routers see. `rate`: calls a second from now on. `frozen`: the number of a
    replica whose process is stopped, -1 lets it go on. `throttled`: the number of one whose process is left a
    tenth of its time for the rest of the cell.
    """

    at_s: float
    slower: dict[int, float] | None = None
    shown: int | None = None
    rate: float | None = None
    frozen: int | None = None
    throttled: int | None = None

    @classmethod
    def of(cls, said: dict[str, Any]) -> Act:
        """As it comes out of JSON, where keys are text."""
        slower = said["slower"] and {int(number): times for number, times in said["slower"].items()}
        return cls(**{**said, "slower": slower})


@dataclass(frozen=True)
class Cell:
    """Calls at `rate` a second to each pool at the same time; those due before `warm_s` do not count."""

    name: str
    pools: tuple[str, ...]
    rate: float
    seconds: float
    warm_s: float
    acts: tuple[Act, ...] = ()

    @classmethod
    def of(cls, said: dict[str, Any]) -> Cell:
        """As it comes out of JSON."""
        return cls(**{**said, "pools": tuple(said["pools"]), "acts": tuple(map(Act.of, said["acts"]))})


@dataclass
class PoolResult:
    """Latencies in ms of the answers from the moment the call was due, calls that failed or never ended, and
    how long after it froze a replica got its last call.
    """

    latencies_ms: list[float] = field(default_factory=list)
    failed: int = 0
    lost: int = 0
    frozen_picked_s: float = 0.0

    @property
    def calls(self) -> int:
        return len(self.latencies_ms) + self.failed + self.lost


@dataclass
class CellResult:
    """By pool, and how late the driver's loop ran."""

    pools: dict[str, PoolResult]
    lags_ms: list[float]

    @classmethod
    def of(cls, said: dict[str, Any]) -> CellResult:
        """As it comes out of JSON."""
        return cls({name: PoolResult(**pool) for name, pool in said["pools"].items()}, said["lags_ms"])
