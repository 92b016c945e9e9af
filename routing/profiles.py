"""Routing profiles: which filters, scorers and picker serve a `routing_strategy`, read from YAML.

Everything is checked when it is loaded: a type that does not exist, a field that a plugin does not have, a
weight that is not positive and a reference to nothing each stop the start, and the error names the place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import Field, ValidationError

from models.base import Frozen
from models.errors import ConfigError, UnknownProfile
from routing.filters import FilterPlugin
from routing.latency import Completion, Floats
from routing.pickers import PickerPlugin
from routing.plugin import Filter, LiveScorer, NearestPicker, Picker, Plugin, Traits, TraitScorer
from routing.scorers import LiveScorerPlugin, ScorerPlugin, TraitScorerPlugin

AnyPlugin = Annotated[FilterPlugin | ScorerPlugin | PickerPlugin, Field(discriminator="type")]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Explore(Frozen):
    """How often another replica than the best is tried, to learn of it: for that `share` of requests, and
    only where its quantile leaves all but `slack` of the deadline unused.
    """

    share: Annotated[float, Field(ge=0, le=0.1)] = 0.0
    slack: Annotated[float, Field(gt=0, le=1)] = 0.5


class ProfileSpec(Frozen):
    """One profile as written: references to plugins by name. `ties` orders candidates of equal score."""

    filters: tuple[str, ...]
    scorers: Annotated[dict[str, Weight], Field(min_length=1)]
    ties: str | None = None
    picker: str
    explore: Explore = Explore()


class ProfilesFile(Frozen):
    """The whole file."""

    plugins: tuple[AnyPlugin, ...]
    profiles: Annotated[dict[str, ProfileSpec], Field(min_length=1)]


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A profile ready to run. Weights add up to 1, so that scores stay in [0, 1]; at most one kind of ties is
    set. `rule` says in words how it chooses, `config_id` is the hash of everything that makes it up.
    """

    name: str
    config_id: str
    rule: str
    filters: tuple[Filter, ...]
    trait_scorers: tuple[tuple[TraitScorer, float], ...]
    live_scorers: tuple[tuple[LiveScorer, float], ...]
    trait_ties: TraitScorer | None
    live_ties: LiveScorer | None
    picker: Picker
    nearest_picker: NearestPicker | None
    """The picker, if nearest replicas are all it has to see."""
    explore: Explore

    def trait_scores(self, traits: Traits) -> Floats:
        """The part of the scores that load does not change."""
        total = np.zeros(len(traits.cost))
        for scorer, weight in self.trait_scorers:
            total += scorer.of_traits(traits) * weight
        return total

    def scores(self, trait_scores: Floats, completion: Completion) -> Floats:
        """The weighted sum of all scorers, as a new array."""
        total = trait_scores if self.live_scorers else trait_scores.copy()
        for scorer, weight in self.live_scorers:
            part = scorer.of_completion(completion.expected_ms, completion.budget_ms)
            part *= weight
            part += total
            total = part
        return total


class Profiles:
    """The profiles of one file by name; immutable."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._profiles = dict(profiles)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._profiles)

    def named(self, name: str) -> Profile:
        """The profile; UnknownProfile names those there are."""
        try:
            return self._profiles[name]
        except KeyError:
            known = ", ".join(self._profiles)
            raise UnknownProfile(
                f"routing_strategy was {name!r}; known are {known}", field="routing_strategy"
            ) from None


def load_profiles(text: str, *, source: str = "profiles.yaml") -> Profiles:
    """Profiles from YAML; ConfigError names the file and the field."""
    file = _parsed(text, source)
    plugins = {plugin.ref: plugin for plugin in file.plugins}
    if len(plugins) != len(file.plugins):
        raise ConfigError(f"{source}: plugins: two have the same name; give one of them another `name`")
    return Profiles({name: _profile(name, spec, plugins, source) for name, spec in file.profiles.items()})


def _parsed(text: str, source: str) -> ProfilesFile:
    try:
        return ProfilesFile.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: is not YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{_path(fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise ConfigError(f"{source}: {faults}") from error


def _path(loc: Iterable[int | str]) -> str:
    return ".".join(str(part) for part in loc)


def _profile(name: str, spec: ProfileSpec, plugins: Mapping[str, Plugin], source: str) -> Profile:
    find = _Finder(plugins, f"{source}: profiles.{name}")
    total = sum(spec.scorers.values())
    weighted = [(find(ref, ScorerPlugin, "scorers"), weight / total) for ref, weight in spec.scorers.items()]
    ties = find(spec.ties, ScorerPlugin, "ties") if spec.ties else None
    picker = find(spec.picker, PickerPlugin, "picker")
    nearest_picker = picker if isinstance(picker, NearestPicker) else None
    if nearest_picker is None and spec.explore.share:
        raise ConfigError(f"{find.place}.explore: has no effect with picker {spec.picker!r}; remove it")
    return Profile(
        name=name,
        filters=tuple(find(ref, FilterPlugin, "filters") for ref in spec.filters),
        trait_scorers=tuple((s, by) for s, by in weighted if isinstance(s, TraitScorerPlugin)),
        live_scorers=tuple((s, by) for s, by in weighted if isinstance(s, LiveScorerPlugin)),
        trait_ties=ties if isinstance(ties, TraitScorerPlugin) else None,
        live_ties=ties if isinstance(ties, LiveScorerPlugin) else None,
        picker=picker,
        nearest_picker=nearest_picker,
        explore=spec.explore,
        rule=_rule(spec),
        config_id=_hash(name, spec, plugins),
    )


class _Finder:
    """Looks plugins up for one profile, and says where a reference leads to nothing or to the wrong kind."""

    def __init__(self, plugins: Mapping[str, Plugin], place: str) -> None:
        self._plugins = plugins
        self.place = place

    def __call__(self, ref: str, kind: Any, field: str) -> Any:
        fitting = [known for known, plugin in self._plugins.items() if isinstance(plugin, kind)]
        if ref not in fitting:
            raise ConfigError(f"{self.place}.{field}: was {ref!r}; defined are {', '.join(fitting)}")
        return self._plugins[ref]


def _rule(spec: ProfileSpec) -> str:
    scorers = " + ".join(f"{weight:g} {ref}" for ref, weight in spec.scorers.items())
    ties = f"ties by {spec.ties}, then at random" if spec.ties else "ties at random"
    return f"{spec.picker} of {scorers} among those that fit the deadline; {ties}"


def _hash(name: str, spec: ProfileSpec, plugins: Mapping[str, Plugin]) -> str:
    used = {*spec.filters, *spec.scorers, spec.picker, *([spec.ties] if spec.ties else [])}
    parts = [plugins[ref].model_dump_json() for ref in sorted(used)]
    return hashlib.sha256("\n".join([name, spec.model_dump_json(), *parts]).encode()).hexdigest()[:12]
