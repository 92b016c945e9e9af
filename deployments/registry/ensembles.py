"""An ensemble that somebody brings while the hub runs: checked against the catalogue of the moment.

Nothing of it is run, so nothing is examined: its artefact is the recipe on its card, byte for byte. What
it costs, takes and serves follows from its members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from deployments.registry.lifecycle import Change, Models, Under, register
from deployments.registry.registrations import Ready, Registrations
from models.card import Ensemble, ModelCard, ModelStatus
from models.ensembles import is_named, market_of, members_of
from models.errors import CardRejected
from models.events import CatalogueEvent
from models.task import task_named
from routing.ensembles import described

_MEMBERS: Final = "ensemble.members"


async def registration(registrations: Registrations, card: ModelCard, artefact: bytes) -> Change:
    """The change that registers a model, ensemble or not, once its artefact is stored."""
    if card.ensemble is None:
        return register(await registrations.ready(card, artefact))
    await registrations.keep_recipe(card, artefact)
    return register_ensemble(card, registrations.sign)


def register_ensemble(card: ModelCard, sign: Callable[[ModelCard], str]) -> Change:
    """The ensemble as a candidate, described by its members. CardRejected names what is wrong with those."""

    def change(models: Models, under: Under) -> Sequence[CatalogueEvent]:
        if str(card.key) in models:
            return register(Ready(card, ""))(models, under)
        made = composed(card, [entry.card for entry in models.values()])
        return register(Ready(made, sign(made)))(models, under)

    return change


def composed(card: ModelCard, cards: Sequence[ModelCard]) -> ModelCard:
    """The card as it stands in a catalogue with these; what follows from its members is not believed."""
    if card.ensemble is None:
        raise CardRejected(f"{card.key} has no recipe", field="ensemble")
    _check_context(card)
    _check_members(card, card.ensemble, cards)
    members = members_of(card, cards)
    made = described(card, members).model_copy(update={"status": ModelStatus.CANDIDATE})
    if not made.contract.instruments:
        raise CardRejected(
            f"there is no instrument that all members of {card.key} serve", field="contract.instruments"
        )
    return made


def _check_context(card: ModelCard) -> None:
    expected = task_named(card.task).context
    if card.contract.context != expected:
        raise CardRejected(
            f"contract.context of {card.key} was {list(card.contract.context)}; "
            f"{card.task} has {list(expected)}",
            field="contract.context",
        )


def _check_members(card: ModelCard, ensemble: Ensemble, cards: Iterable[ModelCard]) -> None:
    known = list(cards)
    if isinstance(ensemble.members, str):
        if not members_of(card, known):
            raise CardRejected(f"no model is live in the market of {card.key}", field=_MEMBERS)
        return
    meant: dict[str, str] = {}
    for name in ensemble.members:
        for member in _named(name, card, known):
            _check_member(card, member)
            if other := meant.get(str(member.key)):
                raise CardRejected(f"{other} and {name} are the same model", field=_MEMBERS)
            meant[str(member.key)] = name


def _named(name: str, card: ModelCard, cards: Iterable[ModelCard]) -> list[ModelCard]:
    found = [other for other in cards if is_named(name, other)]
    if not found:
        missing = "is not in the catalogue" if "@" in name else "has no live version; name the one you mean"
        raise CardRejected(f"{name}, a member of {card.key}, {missing}", field=_MEMBERS)
    return found


def _check_member(card: ModelCard, member: ModelCard) -> None:
    if member.ensemble is not None:
        raise CardRejected(f"{member.key}, a member of {card.key}, is an ensemble itself", field=_MEMBERS)
    fields = ("task", "contract.bar_ms", "contract.horizon_ms")
    for field, ours, theirs in zip(fields, market_of(card), market_of(member), strict=True):
        if ours != theirs:
            raise CardRejected(
                f"{field} of {card.key} was {ours}; its member {member.key} has {theirs}", field=field
            )
