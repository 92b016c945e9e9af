"""A model's card: what the artefact is, what it costs and what was measured of it.

Nothing on a card is claimed without `n`, a period and an error. The card is written by `training/`
(or by whoever adds a model), checked by `inference/check.py` and published on `hub.models`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from models.base import Frozen
from models.task import DataSize

_NAME: Final = r"[a-z][a-z0-9-]{0,62}"
_VERSION: Final = r"[0-9]+(\.[0-9]+){0,2}"
NAMED_MODEL: Final = f"^{_NAME}(@{_VERSION})?$"
"""A name, or a name and a version."""
MOST_MEMBERS: Final = 16
"""Members of an ensemble: what one request may turn into is bounded."""
POOLED: Final = "*"
"""The instrument that stands for any, and for evidence pooled over all."""

ModelName = Annotated[str, StringConstraints(pattern=f"^{_NAME}$")]
ModelVersion = Annotated[str, StringConstraints(pattern=f"^{_VERSION}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ModelStatus(StrEnum):
    """`live` models answer requests; all others are routed to only by name, but for a `canary`, which answers
    a share of them. `candidate`: registered and not yet looked at; `shadow`: asked beside the models that
    answer, to be measured; `demoted`: another version took its place, or it broke its promise; `load-only`:
    honest ballast.
    """

    LIVE = "live"
    LOAD_ONLY = "load-only"
    CANDIDATE = "candidate"
    SHADOW = "shadow"
    CANARY = "canary"
    DEMOTED = "demoted"


MEASURED: Final = frozenset({ModelStatus.LIVE, ModelStatus.SHADOW, ModelStatus.CANARY})
"""Models in these are asked on every moment, whether they answer or not."""


class ModelKey(Frozen):
    """Name and version: the identity of a model everywhere."""

    name: ModelName
    version: ModelVersion

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


class ModelContract(Frozen):
    """What the graph expects and for which market it was made.

    `window_tail` is how many of the last returns it reads; `instruments` holds canonical symbols
    or the single entry `*` for any.
    """

    bar_ms: Annotated[int, Field(gt=0)]
    horizon_ms: Annotated[int, Field(gt=0)]
    window_tail: Annotated[int, Field(gt=0)]
    context: tuple[str, ...]
    instruments: tuple[str, ...]


class WarmProfile(Frozen):
    """Warm service time of one call on one thread, milliseconds, by rows in the call."""

    rows: int
    p50_ms: float
    p99_ms: float
    n: int


class Calibration(Frozen):
    """Conformal multipliers: the interval at `level` is location -/+ multiplier x scale.

    `domain` bounds each context feature to the range seen in training; outside it a forecast is marked
    not in distribution. `up_slope` and `up_offset` recalibrate the logit (Platt).
    """

    version: str
    n: int
    multipliers: dict[str, float]
    up_slope: float = 1.0
    up_offset: float = 0.0
    domain: dict[str, tuple[float, float]] = Field(default_factory=dict)

    def multiplier(self, level: float) -> float:
        return self.multipliers[f"{level:.2f}"]


class Bounded(Frozen):
    """A measured value with its 95 % bounds and the number of observations behind it."""

    value: float
    lower: float
    upper: float
    n: int


class Evidence(Frozen):
    """What was measured on held-out data of one instrument (`*` = pooled).

    `skill` is 1 - interval score / naive interval score (positive is better than naive);
    `pinball_skill` likewise; `coverage` is keyed by level (`"0.95"`), with Wilson bounds.
    """

    instrument: str
    period_from: str
    period_to: str
    n: int
    coverage: dict[str, Bounded]
    interval_score: Bounded
    skill: Bounded
    pinball_skill: Bounded
    direction_accuracy: Bounded


def _in_order(members: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(members))


Members = Annotated[
    tuple[Annotated[str, Field(pattern=NAMED_MODEL)], ...],
    Field(min_length=2, max_length=MOST_MEMBERS),
    AfterValidator(_in_order),
]


class Ensemble(Frozen):
    """What an ensemble is made of: models by `name@version`, or by `name`, which is whatever version is live;
    or `live` for every live model of its task, bar and horizon. Never other ensembles.
    """

    members: Members | Literal["live"]


class ModelCard(Frozen):
    """Everything the registry publishes of a model; `key` is its identity.

    The artefact of a model with an `ensemble` is that recipe, and it is answered by asking its members.
    """

    name: ModelName
    version: ModelVersion
    task: str
    family: str
    description: str
    status: ModelStatus
    sha256: Sha256
    contract: ModelContract
    max_size: DataSize = DataSize.LARGE
    cost: Annotated[float, Field(ge=0)]
    warm: tuple[WarmProfile, ...] = ()
    calibration: Calibration
    evidence: tuple[Evidence, ...] = ()
    trained: dict[str, str] = Field(default_factory=dict)
    ensemble: Ensemble | None = None

    @property
    def key(self) -> ModelKey:
        return ModelKey(name=self.name, version=self.version)

    def evidence_for(self, instrument: str) -> Evidence:
        """Evidence of the instrument, else the pooled one."""
        by_name = {item.instrument: item for item in self.evidence}
        return by_name.get(instrument) or by_name["*"]

    def serves(self, instrument: str) -> bool:
        return "*" in self.contract.instruments or instrument in self.contract.instruments
