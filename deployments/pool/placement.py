"""Which of the models registered at run time a replica offers: rendezvous hashing over the pool's replicas.

Every replica comes to its own part of the same plan, from its rank and the size of its pool, so nobody hands
plans out and nobody waits for who would. A replica that comes or goes moves only the models that it gains or
leaves (Thaler and Ravishankar, "A name-based mapping scheme for rendezvous", 1996).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from deployments.router.catalogue_fold import Entry
from models.card import ModelStatus

_ORDERS: Final = 1 << 14

Says = Callable[[Entry], bool]


class Part(NamedTuple):
    """Which registered models a replica offers, and which of those it loads before anybody asks for them."""

    offers: Says
    loads: Says


class Seat(NamedTuple):
    """A replica's number among those of its pool, counted from 0; None while Serve has not said."""

    rank: int | None
    replicas: int


def belongs(entry: Entry, seat: Seat, *, copies: int) -> bool:
    """Live models belong everywhere, where all the traffic is; any other one to `copies` replicas."""
    if seat.rank is None or entry.card.status is ModelStatus.LIVE:
        return True
    replicas = max(seat.replicas, seat.rank + 1)
    return seat.rank in _order(f"{entry.card.name}@{entry.card.version}", replicas)[:copies]


def part_of(seat: Callable[[], Seat], *, copies: int, most_copies: int) -> Part:
    """A model is loaded by `copies` replicas, and offered by `most_copies`: routers turn to the others when
    waiting for the first takes longer than the load does.
    """
    offered = max(copies, most_copies)
    return Part(
        offers=lambda entry: belongs(entry, seat(), copies=offered),
        loads=lambda entry: belongs(entry, seat(), copies=copies),
    )


@lru_cache(_ORDERS)
def _order(model: str, replicas: int) -> tuple[int, ...]:
    """Who comes first for a model."""
    return tuple(sorted(range(replicas), key=lambda rank: _score(model, rank), reverse=True))


def _score(model: str, rank: int) -> bytes:
    return blake2b(f"{model}\x1f{rank}".encode(), digest_size=8).digest()
