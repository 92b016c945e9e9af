"""A registered model in memory: fetched by its hash, checked against the hub's signature, loaded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from deployments.pool.own_speed import own_profile
from deployments.router.catalogue_fold import Entry
from deployments.router.execution.batching import LoadedModel
from inference.session import Session
from inference.signature import Verifier
from models.card import WarmProfile

_SESSION_BYTES: Final = 300_000
"""What a session takes beside its weights: 230 to 290 kB, as measured over 200 small networks."""
_BYTES_PER_BYTE: Final = 2.0
"""Its weights in memory for each byte of the artefact: 1.1 to 2.1, as measured on networks of 8 and 64 MB."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that was loaded: the memory it takes (an estimate, bytes), how long the load took, and a few
    milliseconds of blocking work that tell how fast it is here.
    """

    model: LoadedModel
    nbytes: int
    load_ms: float
    speed: Callable[[], tuple[WarmProfile, ...]]


class Artefacts(Protocol):
    """Where artefacts are kept by their hash. Blocks."""

    def get(self, digest: str) -> bytes: ...


class Loader:
    """Loads what the hub signed, on the thread it is called on."""

    def __init__(self, artefacts: Artefacts, verifier: Verifier) -> None:
        self._artefacts = artefacts
        self._verifier = verifier

    def __call__(self, entry: Entry) -> Loaded:
        """CardRejected if the hub did not sign it or it does not load, NotFound if the store has it not."""
        started_ns = time.perf_counter_ns()
        self._verifier.check(entry.card, entry.signature)
        artefact = self._artefacts.get(entry.card.sha256)
        session = Session(artefact, entry.card)
        load_ms = (time.perf_counter_ns() - started_ns) / 1e6
        return Loaded(session, memory_of(artefact), load_ms, partial(own_profile, session))


def memory_of(artefact: bytes) -> int:
    """About what a session of these bytes takes."""
    return _SESSION_BYTES + int(_BYTES_PER_BYTE * len(artefact))
