"""The model catalogue with its measured evidence, as this gateway knows it; admins change it."""

# ruff: noqa: FAST003 - `Version` takes the path parameters

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from deployments.front.permits import ReadsModels, WritesModels
from deployments.gateway.services import CatalogueView, Hub, Services
from models.base import Frozen
from models.card import ModelCard
from models.errors import NotFound
from models.evidence import LiveEvidence
from models.lifecycle import Move, NewModel, Step
from models.principal import Principal
from models.promises import EvidencePage, evidence_page

router = APIRouter(prefix="/api/v1/models", tags=["models"])


class ModelList(Frozen):
    """Cards by name and version; `catalogue_version` is the offset of `hub.models` they were read up to.

    `observed` is what live outcomes say, by `name@version`, of those that have had enough of them.
    """

    catalogue_version: int
    models: tuple[ModelCard, ...]
    observed: dict[str, tuple[LiveEvidence, ...]]


@router.get("")
async def models(hub: Hub, _: ReadsModels) -> ModelList:
    """Every model of the catalogue."""
    catalogue = hub.router.catalogue
    return _list(catalogue, catalogue.cards)


@router.get("/{name}")
async def model_versions(name: str, hub: Hub, _: ReadsModels) -> ModelList:
    """Every version of one model."""
    catalogue = hub.router.catalogue
    return _list(catalogue, _versions(catalogue, name))


@router.get("/{name}/evidence")
async def model_evidence(name: str, hub: Hub, _: ReadsModels) -> EvidencePage:
    """What every version of one model promised, held against what was observed of it live."""
    catalogue = hub.router.catalogue
    return evidence_page(_versions(catalogue, name), catalogue.evidence, catalogue_version=catalogue.version)


@router.get("/{name}/{version}")
async def model(name: str, version: str, hub: Hub, _: ReadsModels) -> ModelCard:
    """The card of one version."""
    for card in hub.router.catalogue.cards:
        if (card.name, card.version) == (name, version):
            return card
    raise NotFound("the catalogue has no such model")


def _versions(catalogue: CatalogueView, name: str) -> list[ModelCard]:
    found = [card for card in catalogue.cards if card.name == name]
    if not found:
        raise NotFound("the catalogue has no such model")
    return found


def _list(catalogue: CatalogueView, cards: Sequence[ModelCard]) -> ModelList:
    live = ((key, catalogue.evidence.get(key)) for key in (str(card.key) for card in cards))
    return ModelList(
        catalogue_version=catalogue.version,
        models=tuple(cards),
        observed={key: found.instruments for key, found in live if found and found.instruments},
    )


def version_in_path(name: str, version: str) -> str:
    """`name@version`."""
    return f"{name}@{version}"


Version = Annotated[str, Depends(version_in_path)]


class Reason(Frozen):
    """Why, for whoever reads the catalogue's history."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class Moved(Frozen):
    """The version of the catalogue from which on it holds; gateways follow within a second."""

    catalogue_version: int


@router.post("", status_code=201)
async def register_model(model: NewModel, hub: Hub, caller: WritesModels) -> ModelCard:
    """Add a model while everything runs: it is looked at, measured, signed, stored, and a candidate then.

    The same artefact again changes nothing; another one needs a new version.
    """
    return await hub.models.register(model, by=caller.user_id)


@router.post("/{name}/{version}/promote")
async def promote_model(version: Version, why: Reason, hub: Hub, caller: WritesModels) -> Moved:
    """Let a version answer whoever asks for its task; the one that did so before is demoted."""
    return await _moved(hub, Move(step=Step.PROMOTE, model=version, reason=why.reason), caller)


@router.post("/{name}/rollback")
async def roll_back_model(name: str, why: Reason, hub: Hub, caller: WritesModels) -> Moved:
    """Put the version back that was live before."""
    return await _moved(hub, Move(step=Step.ROLLBACK, model=name, reason=why.reason), caller)


@router.post("/{name}/{version}/retire")
async def retire_model(version: Version, why: Reason, hub: Hub, caller: WritesModels) -> Moved:
    """Take a registered version out: it answers nothing any more. Signals that it made stay explainable."""
    return await _moved(hub, Move(step=Step.RETIRE, model=version, reason=why.reason), caller)


async def _moved(hub: Services, move: Move, caller: Principal) -> Moved:
    return Moved(catalogue_version=await hub.models.move(move, by=caller.user_id))
