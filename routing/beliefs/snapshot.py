"""What a decision is made on: the beliefs of one moment, which nobody changes afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from models.base import Frozen
from models.forecast import LoadReport
from routing.beliefs.doubt import DoubtConfig
from routing.beliefs.gate import Ejection, GateConfig
from routing.beliefs.hops import HopConfig
from routing.beliefs.outcome import Outcome
from routing.beliefs.pace import PaceConfig
from routing.beliefs.placement import Placement
from routing.beliefs.reliability import Reliability
from routing.beliefs.replica import ReplicaConfig, Standing
from routing.beliefs.speeds import Place, SpeedConfig, Spreads
from routing.latency import Floats, Spread


class LoadConfig(Frozen):
    """Time constants of belief. With `forecast` a replica that was not heard of for long is expected to hold
    as many foreign calls as others of its pool; without, none.
    """

    speed: SpeedConfig = SpeedConfig()
    pace: PaceConfig = PaceConfig()
    replica: ReplicaConfig = ReplicaConfig()
    gate: GateConfig = GateConfig()
    doubt: DoubtConfig = DoubtConfig()
    hop: HopConfig = HopConfig()
    forecast: bool = True


@dataclass(slots=True)
class Flight:
    """One call on its way: handed out by `sent`, brought back to `finished`; only the first time counts.

    `doubted`: it went although it is believed to come too late.
    """

    number: int
    replica: str
    model: str
    size: int
    depth: int
    expected_ms: float
    budget_ms: float
    doubted: bool = False
    landed: bool = False


class Ended(NamedTuple):
    """How a call ended; `elapsed_ms` from send to end."""

    outcome: Outcome
    elapsed_ms: float
    now_ms: float
    report: LoadReport | None


class Unlearned(NamedTuple):
    """What would be believed had nothing been measured, as in `LoadSnapshot`: cards and configuration."""

    service_ms: Sequence[Floats]
    tail: Sequence[Sequence[Floats]]
    hop_ms: Mapping[str, float]


class LoadSnapshot(NamedTuple):
    """Beliefs at one moment, numbered by `placement`: `standings` per replica; `service_ms[size]` and
    `tail[size][depth]` per group; `hop_ms` per pool.
    """

    placement: Placement
    standings: Sequence[Standing]
    ranks: Sequence[float]
    service_ms: Sequence[Floats]
    tail: Sequence[Sequence[Floats]]
    spreads: Spreads
    spread_of: Callable[[Place], Spread]
    hop_ms: Mapping[str, float]
    reliability: Mapping[str, Reliability]
    ejections: Mapping[int, Ejection]
    unlearned: Unlearned
    config: LoadConfig

    def kept(self, pool: str, promised: float) -> float:
        """What is kept of promises like this one in a pool."""
        reliability = self.reliability.get(pool)
        return reliability.kept(promised) if reliability else promised

    def spread(self, place: Place) -> Spread:
        """The spread of a place, measured or assumed."""
        return self.spreads.get(place) or self.spread_of(place)
