"""Which replica holds which model: the immutable index that beliefs and candidates are numbered by.

A *cell* is one (replica, model); cells of one pool, hardware class and model stand together as a *group*,
because they share what is believed of a replica that was not measured.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
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


def size_of(rows: int) -> int:
    """Number of the smallest size that holds `rows` windows; of the largest if none does."""
    return bisect_left(_BOUNDS, rows)


@dataclass(frozen=True, slots=True)
class ReplicaMeta:
    """What a replica says of itself once, when it starts; `models` is keyed by `name@version`."""

    pool: str
    hardware: str
    slots: int
    models: Mapping[str, list[WarmProfile]]


@dataclass(frozen=True, slots=True)
class Warm:
    """Service time in milliseconds and p99 / p50 that a group starts from, one entry per size."""

    service_ms: tuple[float, ...]
    tail: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring cells that share a pool median."""

    key: tuple[str, str, str]
    cells: slice
    warm: Warm


@dataclass(frozen=True, slots=True, eq=False)
class Holders:
    """Where one model is held: parallel indices of cells and of their replicas, by replica."""

    cells: Indices
    replicas: Indices


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """All replicas known, in (pool, id) order, and all cells, in (pool, hardware, model, replica) order."""

    replicas: tuple[str, ...]
    metas: tuple[ReplicaMeta, ...]
    index: Mapping[str, int]
    cells: Mapping[tuple[str, str], int]
    groups: tuple[Group, ...]
    group_of: tuple[int, ...]
    holders: Mapping[str, Holders]

    @classmethod
    def of(cls, metas: Mapping[str, ReplicaMeta]) -> Placement:
        """Number the replicas and cells of `metas`, which is keyed by replica id."""
        replicas = tuple(sorted(metas, key=lambda name: (metas[name].pool, name)))
        index = {name: number for number, name in enumerate(replicas)}
        held = sorted(_cells(metas))
        groups = tuple(_groups(held, metas))
        return cls(
            replicas=replicas,
            metas=tuple(metas[name] for name in replicas),
            index=index,
            cells={(name, model): number for number, (_, _, model, name) in enumerate(held)},
            groups=groups,
            group_of=tuple(
                i for i, group in enumerate(groups) for _ in range(*group.cells.indices(len(held)))
            ),
            holders=_holders(held, index),
        )

    def pool_of(self, replica: int) -> str:
        return self.metas[replica].pool


_Cell = tuple[str, str, str, str]
"""Pool, hardware, model, replica."""


def _cells(metas: Mapping[str, ReplicaMeta]) -> Iterator[_Cell]:
    for name, meta in metas.items():
        for model in meta.models:
            yield meta.pool, meta.hardware, model, name


def _groups(held: list[_Cell], metas: Mapping[str, ReplicaMeta]) -> Iterator[Group]:
    pools = {meta.pool for meta in metas.values()}
    typical = {pool: _typical(meta for meta in metas.values() if meta.pool == pool) for pool in pools}
    start = 0
    for key, members in groupby(held, key=lambda cell: cell[:3]):
        pool, _, model = key
        measured = [metas[name].models[model] for *_, name in members]
        stop = start + len(measured)
        yield Group(key, slice(start, stop), _warm(measured, otherwise=typical[pool]))
        start = stop


def _typical(metas: Iterable[ReplicaMeta]) -> Warm:
    """The warm profile of a pool's middle model, for those of its models that have none."""
    nothing = Warm((UNKNOWN_SERVICE_MS,) * len(SIZES), (UNKNOWN_TAIL,) * len(SIZES))
    return _warm([profiles for meta in metas for profiles in meta.models.values()], otherwise=nothing)


def _warm(measured: list[list[WarmProfile]], *, otherwise: Warm) -> Warm:
    """The median over several replicas' profiles at the most rows of each size."""
    per_size = [[warm_at(profiles, size.max_rows) for profiles in measured] for size in SIZES]
    known = [[point for point in points if point] for points in per_size]
    if not known[0]:
        return otherwise
    return Warm(
        tuple(median(service for service, _ in points) for points in known),
        tuple(median(tail for _, tail in points) for points in known),
    )


def _holders(held: list[_Cell], index: Mapping[str, int]) -> dict[str, Holders]:
    places: dict[str, list[tuple[int, int]]] = {}
    for cell, (_, _, model, name) in enumerate(held):
        places.setdefault(model, []).append((index[name], cell))
    return {model: _as_holders(sorted(pairs)) for model, pairs in places.items()}


def _as_holders(pairs: list[tuple[int, int]]) -> Holders:
    replicas, cells = np.array(pairs, dtype=np.intp).T.copy()
    return Holders(cells, replicas)
