"""What a routed call returns to the hub's own callers (gateway, forecaster)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from models.decision import Decision
from models.evidence import Levels
from models.forecast import Forecast, LoadReport
from models.prediction import Lineage
from models.request import Requirements


class InForce(NamedTuple):
    """The calibration that an answer was made with: its version, and the multipliers of each row."""

    version: str
    rows: tuple[Levels, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One forecast per row, the decision that was kept, and the wall times of its stages
    (`decided`, `sent`, `inferred`). `load` is what the replica said of itself; None for one from memory.
    `hedged` says that two calls were out for it. `in_force` is None where nobody knows the model's card.
    """

    forecasts: list[Forecast]
    decision: Decision
    lineage: Lineage
    stages: dict[str, int]
    load: LoadReport | None = None
    hedged: bool = False
    in_force: InForce | None = None


class Router(Protocol):
    """The seam between those who need a forecast and the routed client (or its simulated twin)."""

    async def infer(
        self,
        requirements: Requirements,
        window: NDArray[np.float32],
        context: NDArray[np.float32],
        *,
        traceparent: str,
        unit: str = "",
    ) -> Answer:
        """Decide, call, retry once elsewhere inside the deadline. Raises a RoutingError or ReplicaError."""
        ...
