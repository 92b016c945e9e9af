"""Experiments over live traffic: which request takes part in which, and in which of its arms.

    ab        requests are divided among arms, each with a profile of its own
    canary    a small share tries another profile or model
    shadow    a share is asked a second time, elsewhere; that answer is thrown away

Who is in which arm follows from the experiment's name and the unit alone (murmur2), so a user stays in an arm
across requests, gateways and restarts, and arms of two experiments do not depend on one another. A request
takes part in the first experiment of the file that has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator

from models.base import Frozen
from models.errors import ConfigError
from models.hashing import murmur2
from models.outcome import Assignment
from models.request import Requirements

CONTROL: Final = "stable"
LIVE: Final = "live"
_HASHES: Final = 1 << 32

ExperimentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Share = Annotated[float, Field(gt=0, le=1)]
ModelRef = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}(@[0-9]+(\.[0-9]+){0,2})?$")]


class Metric(StrEnum):
    """What arms are compared by. Completion is of answers alone, cost is that of the model on its card."""

    MET = "met"
    COMPLETION_MS = "completion_ms"
    COST = "cost"


class StopRule(Frozen):
    """When an experiment has said enough. `alpha` is the probability to ever see a difference where there is
    none; no verdict before each arm has `min_n` requests, none is expected any more after `max_n` in all.
    """

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    min_n: Annotated[int, Field(ge=30)] = 200
    max_n: Annotated[int, Field(ge=100)] = 100_000


class _Spec(Frozen):
    """What all kinds share: `asked` is the profile whose requests take part."""

    name: ExperimentName
    asked: str
    metric: Metric = Metric.MET
    stop: StopRule = StopRule()


class AbArm(Frozen):
    """A profile, and the share of requests that it gets."""

    profile: str
    share: Share


class AbSpec(_Spec):
    """Two or more arms; the first is the control that the others are compared with."""

    kind: Literal["ab"]
    arms: Annotated[dict[ExperimentName, AbArm], Field(min_length=2)]

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if (total := sum(arm.share for arm in self.arms.values())) > 1.0 + 1e-9:
            raise ValueError(f"the arms' shares add up to {total:g}, which is more than 1")
        return self


class CanarySpec(_Spec):
    """A share of requests goes to another profile or to a model (`name` or `name@version`)."""

    kind: Literal["canary"]
    share: Share
    profile: str | None = None
    model: ModelRef | None = None

    @model_validator(mode="after")
    def _one_change(self) -> Self:
        if (self.profile is None) == (self.model is None):
            raise ValueError("give either a profile or a model")
        return self


class ShadowSpec(_Spec):
    """A share of requests is decided and called a second time, by another profile."""

    kind: Literal["shadow"]
    share: Share
    profile: str


Spec = Annotated[AbSpec | CanarySpec | ShadowSpec, Field(discriminator="kind")]


class _File(Frozen):
    experiments: tuple[Spec, ...] = ()


class Experiments:
    """The experiments of a file. Those stopped take nobody in any more, until the process starts anew.

    Beside them `canary_share` of the requests that name no model is for models on trial.
    """

    def __init__(
        self, specs: tuple[AbSpec | CanarySpec | ShadowSpec, ...] = (), *, canary_share: float = 0.0
    ) -> None:
        self.specs = specs
        self._canary_share = canary_share
        self.stopped: set[str] = set()
        self._arms = {spec.name: tuple(_arms(spec)) for spec in specs}

    def arm(self, requirements: Requirements, unit: str) -> Assignment | None:
        """What this request is tried with, if anything. `unit` is what should stay in one arm: the user, or
        for the hub's own calls the request.
        """
        for spec in self.specs:
            if spec.asked == requirements.profile and spec.name not in self.stopped:
                place = murmur2(f"{spec.name}\x1f{unit}".encode()) / _HASHES
                for until, assignment in self._arms[spec.name]:
                    if place < until:
                        return assignment
        return None

    def canary(self, requirements: Requirements, unit: str) -> bool:
        """Whether models on trial may answer this request; a unit stays with them or without."""
        if requirements.model is not None:
            return False
        return murmur2(f"canary\x1f{unit}".encode()) < self._canary_share * _HASHES


def _arms(spec: AbSpec | CanarySpec | ShadowSpec) -> Iterator[tuple[float, Assignment]]:
    """Arms, each with the end of its stretch of [0, 1)."""
    name, until = spec.name, 0.0
    match spec:
        case AbSpec():
            for arm, tried in spec.arms.items():
                until += tried.share
                yield until, Assignment(name, arm, tried.profile)
        case CanarySpec():
            yield spec.share, Assignment(name, "canary", spec.profile, spec.model)
            yield 1.0, Assignment(name, CONTROL)
        case ShadowSpec():
            yield spec.share, Assignment(name, "shadow", spec.profile, shadow=True)


def arms_of(spec: AbSpec | CanarySpec | ShadowSpec) -> tuple[str, ...]:
    """Names of the arms, the control first."""
    match spec:
        case AbSpec():
            return tuple(spec.arms)
        case CanarySpec():
            return CONTROL, "canary"
        case ShadowSpec():
            return LIVE, "shadow"


def load_experiments(
    text: str,
    *,
    profiles: Collection[str],
    source: str = "experiments.yaml",
    canary_share: float = 0.0,
) -> Experiments:
    """Experiments from YAML; ConfigError names the file and the field. `profiles` are those there are."""
    try:
        specs = _File.model_validate(yaml.safe_load(text) or {}).experiments
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: is not YAML: {error}", field="experiments") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{source}: {field}: {first['msg']}", field=field) from error
    twice = [name for name, count in Counter(spec.name for spec in specs).items() if count > 1]
    if twice:
        raise ConfigError(f"{source}: experiment {twice[0]} is there twice", field="experiments")
    for number, spec in enumerate(specs):
        for field, profile in _profiles_named(spec):
            if profile not in profiles:
                place = f"experiments.{number}.{field}"
                known = ", ".join(profiles)
                raise ConfigError(f"{source}: {place}: was {profile!r}; known are {known}", field=place)
    return Experiments(specs, canary_share=canary_share)


def _profiles_named(spec: AbSpec | CanarySpec | ShadowSpec) -> Iterator[tuple[str, str]]:
    """Fields that hold the name of a profile."""
    yield "asked", spec.asked
    if isinstance(spec, AbSpec):
        yield from ((f"arms.{arm}.profile", tried.profile) for arm, tried in spec.arms.items())
    elif spec.profile is not None:
        yield "profile", spec.profile
