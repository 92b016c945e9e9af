"""Which replica holds which model: the immutable index that beliefs and candidates are numbered by.

A *group* is one model in one pool on one class of hardware: its replicas share a service time. A *cohort* is
the replicas of one pool and class of hardware that hold the same models: between them the choice depends on
the replica alone and not on the model, which is what keeps decisions cheap where there are many models.

A model that a replica would have to load first is *cold* there. It is in a group of its own, as if it were on
another class of hardware, so that the time of the load never mixes with the model's own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.card import WarmProfile
from models.task import DataSize
from routing.latency import warm_at

Indices = NDArray[np.intp]

SIZES: Final = tuple(DataSize)
_BOUNDS: Final = tuple(size.max_rows for size in SIZES[:-1])
UNKNOWN_SERVICE_MS: Final = 10.0
"""Service time of a model in a pool of which nothing at all is known. Never zero: that would stampede it."""
UNKNOWN_TAIL: Final = 3.0
"""p99 / p50 of the same."""
_COLD: Final = "/cold"
_MEASURED: Final = 1 << 14

GroupKey = tuple[str, str, str]
"""Pool, hardware, model."""


def size_of(rows: int) -> int:
    """Number of the smallest size that holds `rows` windows; of the largest if none does."""
    return bisect_left(_BOUNDS, rows)


@dataclass(frozen=True, slots=True)
class ReplicaMeta:
    """What a replica says of itself; `models` is keyed by `name@version`. Those of them that are `cold` have
    to be loaded first, and their profiles say what a call takes together with the load.

    A `local` replica is the caller's own process: the way there costs nothing.
    """

    pool: str
    hardware: str
    slots: int
    models: Mapping[str, list[WarmProfile]]
    local: bool = False
    cold: frozenset[str] = frozenset()

    def group_key(self, model: str) -> GroupKey:
        """The group that one of its models belongs to as long as the model stays as warm or cold as it is."""
        hardware = f"{self.hardware}{_COLD}" if model in self.cold else self.hardware
        return self.pool, hardware, model

    def as_fast_as(self, other: ReplicaMeta) -> bool:
        """Whether the two differ in nothing but their models."""
        return replace(self, models=other.models, cold=other.cold) == other


@dataclass(frozen=True, slots=True)
class Warm:
    """Service time in milliseconds and p99 / p50 that a group starts from, one entry per size."""

    service_ms: tuple[float, ...]
    tail: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """One model in one pool on one class of hardware, and what is assumed of it before it is measured."""

    key: GroupKey
    warm: Warm


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Replicas that differ in nothing but their load; `groups` are the groups of the models they hold."""

    pool: str
    hardware: str
    local: bool
    replicas: tuple[int, ...]
    groups: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """All replicas known, in (pool, id) order, with their groups and cohorts."""

    replicas: tuple[str, ...]
    metas: tuple[ReplicaMeta, ...]
    index: Mapping[str, int]
    groups: tuple[Group, ...]
    group_index: Mapping[GroupKey, int]
    cohorts: tuple[Cohort, ...]
    models: frozenset[str]

    @classmethod
    def of(cls, metas: Mapping[str, ReplicaMeta]) -> Placement:
        """Number the replicas and groups of `metas`, which is keyed by replica id."""
        replicas = tuple(sorted(metas, key=lambda name: (metas[name].pool, name)))
        groups = _groups(metas)
        group_index = {group.key: number for number, group in enumerate(groups)}
        ordered = tuple(metas[name] for name in replicas)
        return cls(
            replicas=replicas,
            metas=ordered,
            index={name: number for number, name in enumerate(replicas)},
            groups=groups,
            group_index=group_index,
            cohorts=tuple(_cohorts(ordered, group_index)),
            models=frozenset(key[2] for key in group_index),
        )

    def group_of(self, replica: int, model: str) -> int | None:
        """The group of a model on a replica; None if that does not hold it."""
        meta = self.metas[replica]
        if model not in meta.models:
            return None
        return self.group_index[meta.group_key(model)]


def _groups(metas: Mapping[str, ReplicaMeta]) -> tuple[Group, ...]:
    measured: dict[GroupKey, list[list[WarmProfile]]] = {}
    for _, meta in sorted(metas.items()):
        for model, profiles in meta.models.items():
            measured.setdefault(meta.group_key(model), []).append(profiles)
    typical = cache(lambda pool: _typical(metas, pool))
    return tuple(Group(key, _warm(measured[key], partial(typical, key[0]))) for key in sorted(measured))


def _cohorts(metas: tuple[ReplicaMeta, ...], group_index: Mapping[GroupKey, int]) -> Iterable[Cohort]:
    alike: dict[tuple[str, str, frozenset[str], frozenset[str]], list[int]] = {}
    for number, meta in enumerate(metas):
        alike.setdefault((meta.pool, meta.hardware, frozenset(meta.models), meta.cold), []).append(number)
    for members in alike.values():
        meta = metas[members[0]]
        groups = {model: group_index[meta.group_key(model)] for model in sorted(meta.models)}
        yield Cohort(meta.pool, meta.hardware, meta.local, tuple(members), groups)


def _typical(metas: Mapping[str, ReplicaMeta], pool: str) -> Warm:
    """The warm profile of a pool's middle model, for those of its models that have none."""
    nothing = Warm((UNKNOWN_SERVICE_MS,) * len(SIZES), (UNKNOWN_TAIL,) * len(SIZES))
    ours = [meta for meta in metas.values() if meta.pool == pool]
    warm = [profiles for meta in ours for name, profiles in meta.models.items() if name not in meta.cold]
    return _warm(warm, lambda: nothing)


def _warm(measured: list[list[WarmProfile]], otherwise: Callable[[], Warm]) -> Warm:
    """The median over several replicas' profiles at the most rows of each size."""
    if all(profiles == measured[0] for profiles in measured[1:]):
        measured = measured[:1]  # as a rule replicas of one kind were measured once, by the card
    told = (_points(tuple((p.rows, p.p50_ms, p.p99_ms, p.n) for p in profiles)) for profiles in measured)
    known = [points for points in told if points]
    if not known:
        return otherwise()
    per_size = list(zip(*known, strict=True))
    return Warm(
        tuple(median(service for service, _ in points) for points in per_size),
        tuple(median(tail for _, tail in points) for points in per_size),
    )


@lru_cache(_MEASURED)
def _points(profiles: tuple[tuple[int, float, float, int], ...]) -> tuple[tuple[float, float], ...]:
    """Service time and tail at the most rows of each size; none if nothing usable was measured.

    Kept, because all replicas are numbered anew whenever one of them loads a model.
    """
    typed = [WarmProfile(rows=rows, p50_ms=p50, p99_ms=p99, n=n) for rows, p50, p99, n in profiles]
    found = (warm_at(typed, size.max_rows) for size in SIZES)
    return tuple(point for point in found if point)
