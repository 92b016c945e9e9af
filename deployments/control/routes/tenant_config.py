"""A tenant's own layer of the config."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from deployments.control.access import acting
from deployments.control.acting import Acting
from deployments.control.pages import Most
from deployments.control.routes.config_words import (
    Before,
    ConfigChange,
    Diff,
    Expected,
    LayerDocument,
    Number,
    OwnConfig,
    Replaced,
    Resealed,
    Rollback,
    Secret,
    TemplateUse,
    Versions,
)
from deployments.control.services import Control
from deployments.control.tenant_config.desk import On
from models.access import Permission
from models.tenant_config import Layer, LayerKey

router = APIRouter(prefix="/tenants/{tenant_id}/config", tags=["config"])

Reader = Annotated[Acting, Depends(acting(Permission.CONFIG_READ))]
Writer = Annotated[Acting, Depends(acting(Permission.CONFIG_WRITE))]
Keeper = Annotated[Acting, Depends(acting(Permission.CONFIG_SECRETS))]


def _of(acting_on: Acting) -> On:
    return On(acting_on.tenant_id, LayerKey(Layer.TENANT), acting_on.caller.user_id)


@router.get("")
async def config(on: Reader, control: Control) -> OwnConfig:
    """What the tenant says, what holds, and where each value is from."""
    asked = _of(on)
    return OwnConfig.shown(asked.tenant_id, asked.key, await control.configs.show(asked))


@router.put("")
async def put_config(asked: ConfigChange, version: Replaced, on: Writer, control: Control) -> LayerDocument:
    """Replace all that the tenant says. A secret that reads as set stays as it is."""
    layer = _of(on)
    written = await control.configs.put(layer, asked.config, comment=asked.comment, expected=version)
    return LayerDocument.made(layer.tenant_id, layer.key, written)


@router.patch("")
async def change_config(
    asked: ConfigChange, on: Writer, control: Control, version: Expected = None
) -> LayerDocument:
    """Change what is named; null takes a setting back to what is inherited."""
    layer = _of(on)
    written = await control.configs.patch(layer, asked.config, comment=asked.comment, expected=version)
    return LayerDocument.made(layer.tenant_id, layer.key, written)


@router.get("/versions")
async def config_versions(on: Reader, control: Control, before: Before = None, most: Most = 100) -> Versions:
    """Who changed it, when and why."""
    return Versions.of(list(await control.configs.history(_of(on), before=before, most=most)), most)


@router.get("/versions/{version}")
async def config_version(version: Number, on: Reader, control: Control) -> LayerDocument:
    """What the tenant said in one version."""
    layer = _of(on)
    return LayerDocument.made(layer.tenant_id, layer.key, await control.configs.at(layer, version))


@router.get("/versions/{before}/diff/{after}")
async def config_diff(before: Number, after: Number, on: Reader, control: Control) -> Diff:
    """What is not the same in two versions."""
    found = await control.configs.diff(_of(on), before, after)
    return Diff(before=before, after=after, differences=tuple(found))


@router.post("/rollback")
async def roll_config_back(
    asked: Rollback, on: Writer, control: Control, version: Expected = None
) -> LayerDocument:
    """Write what an older version said as the next one."""
    layer = _of(on)
    written = await control.configs.rollback(layer, asked.to, comment=asked.comment, expected=version)
    return LayerDocument.made(layer.tenant_id, layer.key, written)


@router.post("/apply-template")
async def apply_config_template(
    asked: TemplateUse, on: Writer, control: Control, version: Expected = None
) -> LayerDocument:
    """Set what a template sets, and leave the rest."""
    layer = _of(on)
    written = await control.configs.apply(layer, asked.template, comment=asked.comment, expected=version)
    return LayerDocument.made(layer.tenant_id, layer.key, written)


@router.get("/secrets/{name}")
async def config_secret(name: str, on: Keeper, control: Control, response: Response) -> Secret:
    """One secret of the tenant in plain words. That it was read is in the audit."""
    response.headers["Cache-Control"] = "no-store"
    return Secret(name=name, value=await control.configs.secret(_of(on), name))


@router.post("/rotate-key")
async def rotate_config_key(on: Keeper, control: Control) -> Resealed:
    """Seal all of the tenant's secrets, and those of its users, with a new key."""
    return Resealed(secrets=await control.configs.rotate_key(on.tenant_id, by=on.caller.user_id))
