"""The catalogue without the models that are in quarantine."""

from __future__ import annotations

from collections.abc import Iterator

from deployments.router.ports import CatalogueSource
from deployments.router.quarantine import Quarantine
from models.errors import NothingFeasible
from routing.catalogue import Catalogue


class EligibleModels:
    """Catalogues to decide with, best first: without the quarantined models, then with them.

    A quarantined model is never the reason for having no answer at all, unless it was named: a request that
    names one would kill a replica with each call. The reduced catalogue is compiled once per change and kept.
    """

    def __init__(self, source: CatalogueSource, quarantine: Quarantine) -> None:
        self._source = source
        self._quarantine = quarantine
        self._whole: Catalogue | None = None
        self._without: frozenset[str] = frozenset()
        self._reduced: Catalogue | None = None

    def catalogues(self, now_ns: int, *, last_resort: bool = True) -> Iterator[Catalogue]:
        """One catalogue, or two while a model of it is in quarantine and there is a `last_resort`."""
        whole = self._source.catalogue
        without = self._quarantine.shut_out(now_ns).intersection(whole.keys)
        if without:
            yield self._without_models(whole, without)
        if last_resort or not without:
            yield whole

    def check_named(self, model: str, now_ns: int) -> None:
        """NothingFeasible if every version of the model, or the version that is named, is in quarantine."""
        keys = [str(card.key) for card in self._source.catalogue.cards]
        meant = {key for key in keys if model in {key, key.partition("@")[0]}}
        if meant and meant <= self._quarantine.shut_out(now_ns):
            raise NothingFeasible(
                f"{model} crashed its replicas twice and is in quarantine; name another model, or none",
                field="model",
                retry_after_s=max(self._quarantine.remaining_s(key, now_ns) for key in meant),
            )

    def _without_models(self, whole: Catalogue, without: frozenset[str]) -> Catalogue:
        if self._reduced is None or whole is not self._whole or without != self._without:
            self._whole, self._without = whole, without
            self._reduced = Catalogue.of(
                [card for card in whole.cards if str(card.key) not in without],
                version=whole.version,
                evidence=whole.evidence,
                entitlements=whole.entitlements,
                before=whole,
            )
        return self._reduced
