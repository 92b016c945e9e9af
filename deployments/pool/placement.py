"""Which of the models registered at run time a replica holds: rendezvous hashing over the pool's replicas.

Every replica comes to its own part of the same plan, from its rank and the size of its pool, so nobody hands
plans out and nobody waits for who would. A replica that comes or goes moves only the models that it gains or
leaves (Thaler and Ravishankar, "A name-based mapping scheme for rendezvous", 1996).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from deployments.router.catalogue_fold import Entry
from models.card import ModelStatus


class Seat(NamedTuple):
    """A replica's number among those of its pool, counted from 0; None while Serve has not said."""

    rank: int | None
    replicas: int


def belongs(entry: Entry, seat: Seat, *, copies: int) -> bool:
    """Live models belong everywhere, where all the traffic is; any other one to `copies` replicas."""
    if seat.rank is None or entry.card.status is ModelStatus.LIVE:
        return True
    ranks = range(max(seat.replicas, seat.rank + 1))
    model = str(entry.card.key)
    return seat.rank in sorted(ranks, key=lambda rank: _score(model, rank), reverse=True)[:copies]


def _score(model: str, rank: int) -> bytes:
    return blake2b(f"{model}\x1f{rank}".encode(), digest_size=8).digest()
