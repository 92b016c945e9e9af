"""What callers that measure have in common: the cards of a repository, the pool they call, bare calls."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np

from deployments.router.pools import ServePools
from deployments.router.replies import Refusal
from inference.cards import CARD_FILE, read_card
from models.forecast import InferCall
from models.ids import random_id
from models.task import CONTEXT_FEATURES, INTERVAL_LEVELS, WINDOW
from routing.catalogue import Catalogue
from routing.load import LoadTable

_LEVEL: Final = INTERVAL_LEVELS[4]


@dataclass(frozen=True)
class Cards:
    """Cards that never change, without a registry."""

    catalogue: Catalogue
    complete: bool = True

    @classmethod
    def of(cls, repository: str, model: str = "*") -> Cards:
        """Of a model, or of every model of the repository."""
        paths = sorted(Path(repository).glob(f"{model}/*/{CARD_FILE}"))
        return cls(Catalogue.of([read_card(path.parent) for path in paths], version=1))


async def opened(pool: str, table: LoadTable, *, by_reference_from: int) -> ServePools:
    """The pool, once the table knows its replicas."""
    pools = ServePools(
        (pool,), by_reference_from=by_reference_from, seen=lambda name: bool(table.replicas(name))
    )
    await pools.open(seen_timeout_s=60.0)
    return pools


class BareCalls:
    """Calls of a pool by a handle alone, always with the same inputs, which routed calls may use too."""

    def __init__(self, handle: Any, rng: Random, *, rows: int) -> None:
        inputs = np.random.default_rng(0)
        self.window = inputs.normal(0, 5e-5, (rows, WINDOW)).astype(np.float32)
        self.context = np.zeros((rows, len(CONTEXT_FEATURES)), np.float32)
        self._handle = handle
        self._rng = rng

    async def infer(self, model: str, deadline_ns: int) -> None:
        """One call; raises the error of a replica that refuses it."""
        call = InferCall(
            call_id=random_id(self._rng),
            model=f"{model}@1",
            window=self.window,
            context=self.context,
            interval_level=_LEVEL,
            deadline_ns=deadline_ns,
            traceparent="",
        )
        reply = await self._handle.remote(call)
        if isinstance(reply, Refusal):
            raise reply.error


def in_ns(seconds: float) -> int:
    """The moment so many seconds from now."""
    return time.time_ns() + int(seconds * 1e9)
