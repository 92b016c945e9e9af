"""Ensembles: their recipe as bytes, and which models of a catalogue a recipe means."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from models.card import Ensemble, ModelCard, ModelStatus


def recipe_of(ensemble: Ensemble) -> bytes:
    """The artefact of an ensemble: the same bytes for the same members, in whatever order they were named."""
    return orjson.dumps(ensemble.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)


def members_of(card: ModelCard, cards: Iterable[ModelCard]) -> list[ModelCard]:
    """The members that are among these cards now; none if the card is no ensemble.

    Only models of the same task, bar and horizon count, and no ensembles, whatever a recipe names: since it
    was registered, a name may have come to mean another model.
    """
    if card.ensemble is None:
        return []
    wanted = card.ensemble.members
    return [
        other
        for other in cards
        if other.ensemble is None and market_of(other) == market_of(card) and _is_meant(other, wanted)
    ]


def market_of(card: ModelCard) -> tuple[str, int, int]:
    """Task, bar and horizon: what members have to have in common."""
    return card.task, card.contract.bar_ms, card.contract.horizon_ms


def is_named(name: str, card: ModelCard) -> bool:
    """Whether a name means this version: by `name@version`, or by `name` while it is live."""
    return name == str(card.key) or (name == card.name and card.status is ModelStatus.LIVE)


def _is_meant(card: ModelCard, wanted: Iterable[str] | str) -> bool:
    if isinstance(wanted, str):
        return card.status is ModelStatus.LIVE
    return any(is_named(name, card) for name in wanted)
