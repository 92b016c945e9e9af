"""What may happen to a model that is in the catalogue, as events; decided on the catalogue of the moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from deployments.registry.registrations import Ready
from deployments.router.catalogue_fold import Entry
from models.card import ModelCard, ModelStatus
from models.errors import AlreadyRegistered, NotFound, NotPossible
from models.events import CatalogueEvent, ModelAdded, ModelMoved, ModelRetired, Origin
from models.lifecycle import Move, Step

Models = Mapping[str, Entry]
"""The catalogue, by `name@version`."""
Numbers = Mapping[str, float]
"""What a move was decided on."""
_NONE: Final[Numbers] = {}


@dataclass(frozen=True, slots=True)
class Under:
    """Who changes the catalogue, when, and under which claim."""

    epoch: int
    at_ns: int
    by: str

    def moved(self, card: ModelCard, to: ModelStatus, reason: str, numbers: Numbers = _NONE) -> ModelMoved:
        """The event of a move."""
        return ModelMoved(
            epoch=self.epoch,
            model=str(card.key),
            to=to,
            reason=reason,
            by=self.by,
            at_ns=self.at_ns,
            numbers=dict(numbers),
        )


Change = Callable[[Models, Under], Sequence[CatalogueEvent]]
"""The events that make the change; none if it is made already. Raises why it cannot be made."""


def made(move: Move) -> Change:
    """The change that a move asks for."""
    steps: dict[Step, Callable[[str, str], Change]] = {
        Step.PROMOTE: promote,
        Step.ROLLBACK: rollback,
        Step.RETIRE: retire,
    }
    return steps[move.step](move.model, move.reason)


def register(ready: Ready) -> Change:
    """The model as a candidate. The same artefact again changes nothing; another needs another version."""

    def change(models: Models, under: Under) -> Sequence[CatalogueEvent]:
        known = models.get(str(ready.card.key))
        if known is None:
            return [
                ModelAdded(
                    epoch=under.epoch,
                    card=ready.card,
                    at_ns=under.at_ns,
                    origin=Origin.REGISTERED,
                    signature=ready.signature,
                )
            ]
        if known.card.sha256 != ready.card.sha256:
            raise AlreadyRegistered(
                f"{ready.card.key} is artefact {known.card.sha256[:12]}; give this one a new version",
                field="card.version",
            )
        return []

    return change


def promote(model: str, reason: str, numbers: Numbers = _NONE) -> Change:
    """The model goes live, and every other live version of its name is demoted."""

    def change(models: Models, under: Under) -> Sequence[CatalogueEvent]:
        chosen = _known(models, model)
        live = [card for card in _versions(models, chosen.name) if card.status is ModelStatus.LIVE]
        raised = [] if chosen in live else [under.moved(chosen, ModelStatus.LIVE, reason, numbers)]
        why = f"{chosen.key} took its place"
        return raised + [under.moved(card, ModelStatus.DEMOTED, why) for card in live if card != chosen]

    return change


def moved_to(model: str, status: ModelStatus, reason: str, numbers: Numbers = _NONE) -> Change:
    """The model gets this status, and nothing else changes. For any but `live`: that is `promote`'s."""

    def change(models: Models, under: Under) -> Sequence[CatalogueEvent]:
        card = _known(models, model)
        return [] if card.status is status else [under.moved(card, status, reason, numbers)]

    return change


def rollback(name: str, reason: str) -> Change:
    """The newest version that was demoted goes live in place of the one that is."""

    def change(models: Models, under: Under) -> Sequence[CatalogueEvent]:
        versions = _versions(models, name)
        if not versions:
            raise NotFound("the catalogue has no such model")
        live = [card for card in versions if card.status is ModelStatus.LIVE]
        earlier = [
            card
            for card in versions
            if card.status is ModelStatus.DEMOTED and (not live or _number(card) < _number(live[-1]))
        ]
        if not earlier:
            raise NotPossible(f"{name} has no earlier version that was live")
        return promote(str(earlier[-1].key), reason)(models, under)

    return change


def retire(model: str, reason: str, numbers: Numbers = _NONE) -> Change:
    """The model answers nothing from here on. One of the repository is taken out there instead."""

    def change(models: Models, under: Under) -> Sequence[CatalogueEvent]:
        card = _known(models, model)
        if models[model].origin is Origin.REPOSITORY:
            raise NotPossible(f"{model} is in the repository of every node; take it out there to retire it")
        retired = ModelRetired(
            epoch=under.epoch,
            model=str(card.key),
            reason=reason,
            at_ns=under.at_ns,
            by=under.by,
            numbers=dict(numbers),
        )
        return [retired]

    return change


def _known(models: Models, model: str) -> ModelCard:
    if model not in models:
        raise NotFound("the catalogue has no such model")
    return models[model].card


def _versions(models: Models, name: str) -> list[ModelCard]:
    """All versions of a name, the oldest first."""
    return sorted((entry.card for entry in models.values() if entry.card.name == name), key=_number)


def _number(card: ModelCard) -> tuple[int, ...]:
    return tuple(int(part) for part in card.version.split("."))
