"""A user's own layer of the config: read and written by the user, and by who administers the tenant."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from deployments.control.access import InPath, acting
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
    Rollback,
    Secret,
    TemplateUse,
    Versions,
)
from deployments.control.services import Control
from deployments.control.tenant_config.desk import On
from deployments.front.access import Caller
from models.access import Permission
from models.ids import USER_ID_PATTERN
from models.tenant_config import Layer, LayerKey

router = APIRouter(prefix="/tenants/{tenant_id}/users/{user_id}/config", tags=["config"])

UserId = Annotated[str, Path(pattern=USER_ID_PATTERN, description="The user's id")]


def of_user(*, own: Permission, others: Permission) -> Callable[..., Coroutine[Any, Any, On]]:
    """A dependency: the layer of the user in the path, for that user with one permission, for anybody else
    with another.
    """

    async def dependency(tenant_id: InPath, user_id: UserId, caller: Caller, request: Request) -> On:
        itself = (tenant_id, user_id) == (caller.tenant_id, caller.user_id)
        allowed = await acting(own if itself else others)(tenant_id, request)
        return On(allowed.tenant_id, LayerKey(Layer.USER, user_id), caller.user_id)

    dependency.__dict__["permission"] = own
    dependency.__dict__["permission_for_others"] = others
    return dependency


Reader = Annotated[On, Depends(of_user(own=Permission.CONFIG_READ, others=Permission.USERS_READ))]
Writer = Annotated[On, Depends(of_user(own=Permission.PROFILE_OWN, others=Permission.CONFIG_WRITE))]
Keeper = Annotated[On, Depends(of_user(own=Permission.CONFIG_SECRETS, others=Permission.CONFIG_SECRETS))]


@router.get("")
async def user_config(on: Reader, control: Control) -> OwnConfig:
    """What the user says, what holds, and where each value is from."""
    return OwnConfig.shown(on.tenant_id, on.key, await control.configs.show(on))


@router.put("")
async def put_user_config(
    asked: ConfigChange, version: Replaced, on: Writer, control: Control
) -> LayerDocument:
    """Replace all that the user says. A secret that reads as set stays as it is."""
    written = await control.configs.put(on, asked.config, comment=asked.comment, expected=version)
    return LayerDocument.made(on.tenant_id, on.key, written)


@router.patch("")
async def change_user_config(
    asked: ConfigChange, on: Writer, control: Control, version: Expected = None
) -> LayerDocument:
    """Change what is named; null takes a setting back to what is inherited."""
    written = await control.configs.patch(on, asked.config, comment=asked.comment, expected=version)
    return LayerDocument.made(on.tenant_id, on.key, written)


@router.get("/versions")
async def user_config_versions(
    on: Reader, control: Control, before: Before = None, most: Most = 100
) -> Versions:
    """Who changed it, when and why."""
    return Versions.of(list(await control.configs.history(on, before=before, most=most)), most)


@router.get("/versions/{version}")
async def user_config_version(version: Number, on: Reader, control: Control) -> LayerDocument:
    """What the user said in one version."""
    return LayerDocument.made(on.tenant_id, on.key, await control.configs.at(on, version))


@router.get("/versions/{before}/diff/{after}")
async def user_config_diff(before: Number, after: Number, on: Reader, control: Control) -> Diff:
    """What is not the same in two versions."""
    found = await control.configs.diff(on, before, after)
    return Diff(before=before, after=after, differences=tuple(found))


@router.post("/rollback")
async def roll_user_config_back(
    asked: Rollback, on: Writer, control: Control, version: Expected = None
) -> LayerDocument:
    """Write what an older version said as the next one."""
    written = await control.configs.rollback(on, asked.to, comment=asked.comment, expected=version)
    return LayerDocument.made(on.tenant_id, on.key, written)


@router.post("/apply-template")
async def apply_user_config_template(
    asked: TemplateUse, on: Writer, control: Control, version: Expected = None
) -> LayerDocument:
    """Set what a template sets, and leave the rest."""
    written = await control.configs.apply(on, asked.template, comment=asked.comment, expected=version)
    return LayerDocument.made(on.tenant_id, on.key, written)


@router.get("/secrets/{name}")
async def user_config_secret(name: str, on: Keeper, control: Control, response: Response) -> Secret:
    """One secret of the user in plain words. That it was read is in the audit."""
    response.headers["Cache-Control"] = "no-store"
    return Secret(name=name, value=await control.configs.secret(on, name))
