"""Which ensembles this process offers: those of the catalogue that decisions are made with.

Every ensemble that has a member with a weight stands in the load table as a replica of its own, of pool
`ensemble` and in this process. So the engine chooses it like any other model, and learns how long it takes
from its replies; and one whose members fail is not the others' trouble.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from deployments.router.execution.reports import Reports
from deployments.router.execution.slots import Slots
from deployments.router.names import ENSEMBLE_POOL
from deployments.router.ports import CatalogueSource
from models.card import ModelCard
from models.ensembles import members_of
from models.ids import random_id
from routing.catalogue import Catalogue
from routing.evidence.weights import weights_of
from routing.load import LoadTable, ReplicaMeta

_AT_ONCE: Final = 64
"""Calls of one ensemble in this process; one more is refused, as by a replica whose queue is full."""

Weights = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Standing:
    """An ensemble as it is now: its members' weights, and what it says of its load."""

    card: ModelCard
    weights: Weights
    reports: Reports


class EnsembleOffers:
    """A catalogue with its ensembles in the load table from the moment that anybody looks at it. Belongs to
    one event loop.
    """

    def __init__(
        self, source: CatalogueSource, load: LoadTable, *, clock: Callable[[], int], rng: Random
    ) -> None:
        self._source = source
        self._load = load
        self._clock = clock
        self._rng = rng
        self._standing: dict[str, Standing] = {}
        self._seen: Catalogue | None = None

    @property
    def complete(self) -> bool:
        """Whether the catalogue was read to its end at least once."""
        return self._source.complete

    @property
    def catalogue(self) -> Catalogue:
        """The newest copy; what is offered follows it."""
        newest = self._source.catalogue
        if newest is not self._seen:
            self._seen = newest
            self._follow(newest)
        return newest

    def standing(self, model: str) -> Standing | None:
        """An ensemble that is offered now, by `name@version`."""
        return self._standing.get(model)

    def _follow(self, catalogue: Catalogue) -> None:
        before = self._replicas()
        self._standing = {
            str(card.key): Standing(card, weights, self._reports(card))
            for card, weights in _weighed(catalogue)
        }
        if self._replicas() != before:
            held = [(one.reports.replica, _meta(one.card)) for one in self._standing.values()]
            self._load.replicas_updated(ENSEMBLE_POOL, held, now_ns=self._clock())

    def _replicas(self) -> set[str]:
        return {one.reports.replica for one in self._standing.values()}

    def _reports(self, card: ModelCard) -> Reports:
        """Those of the same recipe go on; a new one begins as a replica that nobody knows."""
        known = self._standing.get(str(card.key))
        if known is not None and known.card.sha256 == card.sha256:
            return known.reports
        boot = random_id(self._rng)
        return Reports(f"{ENSEMBLE_POOL}-{boot[:8]}", boot, Slots[str](slots=_AT_ONCE, max_queue=0))


def _meta(card: ModelCard) -> ReplicaMeta:
    return ReplicaMeta(
        pool=ENSEMBLE_POOL,
        hardware=ENSEMBLE_POOL,
        slots=_AT_ONCE,
        models={str(card.key): list(card.warm)},
        local=True,
    )


def _weighed(catalogue: Catalogue) -> list[tuple[ModelCard, Weights]]:
    """The ensembles of a catalogue that have a member with a weight."""
    seen = {name: found.instruments for name, found in catalogue.evidence.items()}
    ensembles = [card for card in catalogue.cards if card.ensemble is not None]
    weighed = [(card, weights_of(members_of(card, catalogue.cards), seen)) for card in ensembles]
    return [(card, weights) for card, weights in weighed if weights]
