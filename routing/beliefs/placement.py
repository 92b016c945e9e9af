"""Which replica holds which model: the immutable index that beliefs and candidates are numbered by.

A *group* is one model in one pool on one class of hardware: its replicas share a service time. A *cohort* is
the replicas of one pool and class of hardware that hold the same models: between them the choice depends on
the replica alone and not on the model, which is what keeps decisions cheap where there are many models.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

GroupKey = tuple[str, str, str]
"""Pool, hardware, model."""


def size_of(rows: int) -> int:
    """Number of the smallest size that holds `rows` windows; of the largest if none does."""
    return bisect_left(_BOUNDS, rows)


@dataclass(frozen=True, slots=True)
class ReplicaMeta:
    """What a replica says of itself once, when it starts; `models` is keyed by `name@version`.

    A `local` replica is the caller's own process: the way there costs nothing.
    """

    pool: str
    hardware: str
    slots: int
    models: Mapping[str, list[WarmProfile]]
    local: bool = False


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
        return self.group_index[meta.pool, meta.hardware, model]


def _groups(metas: Mapping[str, ReplicaMeta]) -> tuple[Group, ...]:
    measured: dict[GroupKey, list[list[WarmProfile]]] = {}
    for _, meta in sorted(metas.items()):
        for model, profiles in meta.models.items():
            measured.setdefault((meta.pool, meta.hardware, model), []).append(profiles)
    typical = {pool: _typical(metas, pool) for pool in {meta.pool for meta in metas.values()}}
    return tuple(Group(key, _warm(measured[key], otherwise=typical[key[0]])) for key in sorted(measured))


def _cohorts(metas: tuple[ReplicaMeta, ...], group_index: Mapping[GroupKey, int]) -> Iterable[Cohort]:
    alike: dict[tuple[str, str, frozenset[str]], list[int]] = {}
    for number, meta in enumerate(metas):
        alike.setdefault((meta.pool, meta.hardware, frozenset(meta.models)), []).append(number)
    for (pool, hardware, models), members in alike.items():
        groups = {model: group_index[pool, hardware, model] for model in sorted(models)}
        yield Cohort(pool, hardware, metas[members[0]].local, tuple(members), groups)


def _typical(metas: Mapping[str, ReplicaMeta], pool: str) -> Warm:
    """The warm profile of a pool's middle model, for those of its models that have none."""
    nothing = Warm((UNKNOWN_SERVICE_MS,) * len(SIZES), (UNKNOWN_TAIL,) * len(SIZES))
    ours = [meta for meta in metas.values() if meta.pool == pool]
    return _warm([profiles for meta in ours for profiles in meta.models.values()], otherwise=nothing)


def _warm(measured: list[list[WarmProfile]], *, otherwise: Warm) -> Warm:
    """The median over several replicas' profiles at the most rows of each size."""
    if all(profiles == measured[0] for profiles in measured[1:]):
        measured = measured[:1]  # as a rule replicas of one kind were measured once, by the card
    per_size = [[warm_at(profiles, size.max_rows) for profiles in measured] for size in SIZES]
    known = [[point for point in points if point] for points in per_size]
    if not known[0]:
        return otherwise
    return Warm(
        tuple(median(service for service, _ in points) for points in known),
        tuple(median(tail for _, tail in points) for points in known),
    )
