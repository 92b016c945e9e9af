"""The model catalogue with its measured evidence, as this gateway knows it."""

from __future__ import annotations

from fastapi import APIRouter

from deployments.gateway.access import Caller
from deployments.gateway.services import Hub
from models.base import Frozen
from models.card import ModelCard
from models.errors import NotFound

router = APIRouter(prefix="/api/v1/models", tags=["models"])


class ModelList(Frozen):
    """Cards by name and version; `catalogue_version` is the offset of `hub.models` they were read up to."""

    catalogue_version: int
    models: tuple[ModelCard, ...]


@router.get("")
async def models(hub: Hub, _: Caller) -> ModelList:
    """Every model of the catalogue."""
    catalogue = hub.router.catalogue
    return ModelList(catalogue_version=catalogue.version, models=tuple(catalogue.cards))


@router.get("/{name}")
async def model_versions(name: str, hub: Hub, _: Caller) -> ModelList:
    """Every version of one model."""
    catalogue = hub.router.catalogue
    found = tuple(card for card in catalogue.cards if card.name == name)
    if not found:
        raise NotFound("the catalogue has no such model")
    return ModelList(catalogue_version=catalogue.version, models=found)


@router.get("/{name}/{version}")
async def model(name: str, version: str, hub: Hub, _: Caller) -> ModelCard:
    """The card of one version."""
    for card in hub.router.catalogue.cards:
        if (card.name, card.version) == (name, version):
            return card
    raise NotFound("the catalogue has no such model")
