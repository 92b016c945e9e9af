"""What became of forecasts, and what that says of the models that made them.

A `Trial` is one model's forecast of a moment, a `TrialOutcome` how it did once the horizon had passed, and
`ModelEvidence` what all of a model's outcomes come to. Times are market time.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from models.base import Frozen
from models.card import Bounded, ModelName, ModelVersion
from models.task import INTERVAL_LEVELS

SHADOW_KEY: Final = b"~shadow"

Levels = Annotated[tuple[float, ...], Field(min_length=len(INTERVAL_LEVELS), max_length=len(INTERVAL_LEVELS))]
"""One number per interval level, in their order."""


class Spread(Frozen):
    """The distribution around a forecast's median: the interval at a level is median -/+ multiplier x scale.

    So every level can be judged later, and not only the one that was answered with.
    """

    scale: Annotated[float, Field(gt=0)]
    multipliers: Levels


class Trial(Frozen):
    """What a model forecast beside the one that answered. `failed` is the code of its error if it had none.

    `service_us` is the time that its replica took.
    """

    model: str
    calibration: str = ""
    location: float = 0.0
    prob_up: float = 0.5
    spread: Spread | None = None
    service_us: int = 0
    failed: str = ""


class Shadow(Frozen):
    """Forecasts of a moment that nobody acts on, so that models are measured which did not answer.

    Written by the owner of the symbol beside its predictions, with the same right. `mid` is the price at the
    close.
    """

    schema_: Literal["hub.shadow/1"] = Field("hub.shadow/1", alias="schema")
    epoch: int
    symbol: str
    bar_ms: int
    horizon_ms: int
    bar_close_ms: int
    mid: float
    trials: tuple[Trial, ...]


class TrialOutcome(Frozen):
    """How one forecast did. `answered`: it was delivered, and not only made beside the one that was.

    `score` is |outcome - median| / scale, what conformal calibration is made of. `inside` is the index of the
    narrowest level whose interval held the outcome; with none, how many levels there are. Losses are in
    basis points: `interval_loss` the mean over all levels, `pinball_loss` over q05, q50 and q95. `right` is
    1 or 0 for the direction (that of `prob_up`, or of the median where it is exactly 1/2), 1/2 where the
    forecast named none, None where the price did not move.
    """

    model: str
    answered: bool
    calibration: str
    score: float
    inside: Annotated[int, Field(ge=0, le=len(INTERVAL_LEVELS))]
    interval_loss: float
    pinball_loss: float
    right: float | None
    service_us: int


class Outcome(Frozen):
    """What the market did over a horizon, and how every forecast of it did. `realised` is the log return.

    `control` names the model that skill is measured against, if it is among the trials. `failed` holds the
    models that were asked and gave no forecast, with the code of the error. `partition` is the one of
    `hub.predictions` that the forecasts were read from; a successor reads it from offset `resume`.
    """

    schema_: Literal["hub.outcome/1"] = Field("hub.outcome/1", alias="schema")
    epoch: int
    symbol: str
    bar_ms: int
    horizon_ms: int
    bar_close_ms: int
    realised: float
    trials: tuple[TrialOutcome, ...]
    control: str | None
    failed: dict[str, str] = Field(default_factory=dict)
    partition: int
    resume: int


class LiveEvidence(Frozen):
    """What outcomes say of a model on one instrument (`*`: pooled). Bounds hold at every moment at once.
    Skill is None where no control was measured beside the model.

    `clusters` is how many independent observations the outcomes are worth, `weight` in [0, 1) how much they
    count beside what was known before: the card, or the pooled evidence.
    """

    instrument: str
    n: int
    clusters: float
    weight: Annotated[float, Field(ge=0, lt=1)]
    coverage: dict[str, Bounded]
    interval_score: Bounded
    skill: Bounded | None
    pinball_skill: Bounded | None
    direction_accuracy: Bounded | None


class Recalibration(Frozen):
    """Multipliers that would have kept every level's promise lately, by instrument (`*`: any other)."""

    version: str
    multipliers: dict[str, Levels]


class Stretch(Frozen):
    """A stretch of market time in a model's history, over all instruments: the shares of outcomes inside the
    intervals at 0.90 and 0.95, by level, and skill.
    """

    from_ms: int
    to_ms: int
    n: int
    coverage: dict[str, float]
    skill: float | None


class ModelEvidence(Frozen):
    """The fold of `hub.outcomes` up to and including offset `cursor`, for one model. The highest cursor wins.

    `failures` of the last `asked` requests gave no forecast. `service_ms` are the median and the 99th
    percentile of the time in a replica. `drift` is the largest share by which coverage of a level has lately
    been off its promise for certain, 0 if for none.
    """

    schema_: Literal["hub.evidence/1"] = Field("hub.evidence/1", alias="schema")
    name: ModelName
    version: ModelVersion
    cursor: int
    bar_ms: int
    horizon_ms: int
    from_ms: int
    to_ms: int
    outcomes: int
    answered: int
    asked: int
    failures: int
    service_ms: tuple[float, float]
    instruments: tuple[LiveEvidence, ...]
    drift: float
    calibration: Recalibration | None
    history: tuple[Stretch, ...]

    @property
    def model(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    def on(self, instrument: str) -> LiveEvidence | None:
        """Evidence of exactly this instrument."""
        return next((item for item in self.instruments if item.instrument == instrument), None)
