"""The layers above the tenants, what settings there are, and the templates."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from deployments.control.access import holding
from deployments.control.pages import Most
from deployments.control.routes.config_words import (
    Before,
    ConfigChange,
    Diff,
    LayerDocument,
    Number,
    Replaced,
    Versions,
)
from deployments.control.services import Control
from deployments.control.tenant_config.desk import On
from deployments.front.tenant_config.schema import SCHEMA, Setting
from deployments.front.tenant_config.templates import Template
from models.access import Permission
from models.base import Frozen
from models.principal import Principal
from models.tenant import PLATFORM_TENANT
from models.tenant_config import Layer, LayerKey

router = APIRouter(tags=["config"])

Reader = Annotated[Principal, Depends(holding(Permission.CONFIG_READ))]
Platform = Annotated[Principal, Depends(holding(Permission.CONFIG_PLATFORM))]
LayerName = Annotated[
    str,
    Path(
        pattern=r"^(global|environment\.[a-z0-9][a-z0-9_-]{0,39}|tier\.(free|pro|enterprise|service))$",
        description="`global`, `environment.NAME`, or `tier.NAME`",
    ),
]


class SettingPage(Frozen):
    """One setting: what it is for, what it takes, and who may set it besides the platform."""

    name: str
    kind: str
    about: str
    expects: str
    default: Any
    secret: bool
    bounding: bool
    set_by: tuple[str, ...]

    @classmethod
    def of(cls, setting: Setting) -> SettingPage:
        plain = {name: getattr(setting, name) for name in cls.model_fields if name != "set_by"}
        return cls(**plain, set_by=tuple(sorted(setting.set_by)))


class Schema(Frozen):
    """Every setting there is. A `bounding` one may be lowered by a layer below, and never raised."""

    settings: tuple[SettingPage, ...]


class TemplateList(Frozen):
    """Templates by name."""

    templates: dict[str, Template]


def _of(layer: str, caller: Principal) -> On:
    name, _, subject = layer.partition(".")
    return On(PLATFORM_TENANT, LayerKey(Layer(name), subject), caller.user_id)


@router.get("/config-schema")
async def config_schema(_: Reader) -> Schema:
    """Every setting there is."""
    return Schema(settings=tuple(map(SettingPage.of, SCHEMA.values())))


@router.get("/config-templates")
async def config_templates(_: Reader, control: Control) -> TemplateList:
    """The templates that there are, with what they set."""
    return TemplateList(templates=dict(control.configs.templates.templates))


@router.get("/platform/config/{layer}")
async def platform_config(layer: LayerName, caller: Platform, control: Control) -> LayerDocument:
    """What a layer above the tenants says."""
    on = _of(layer, caller)
    return LayerDocument.made(on.tenant_id, on.key, (await control.configs.show(on)).version)


@router.put("/platform/config/{layer}")
async def put_platform_config(  # noqa: PLR0917 - FastAPI passes them by name
    layer: LayerName, asked: ConfigChange, version: Replaced, caller: Platform, control: Control
) -> LayerDocument:
    """Replace what a layer says to all tenants below it. Those who have more than it allows are overruled."""
    on = _of(layer, caller)
    written = await control.configs.put(on, asked.config, comment=asked.comment, expected=version)
    return LayerDocument.made(on.tenant_id, on.key, written)


@router.get("/platform/config/{layer}/versions")
async def platform_config_versions(  # noqa: PLR0917 - FastAPI passes them by name
    layer: LayerName, caller: Platform, control: Control, before: Before = None, most: Most = 100
) -> Versions:
    """Who changed it, when and why."""
    found = await control.configs.history(_of(layer, caller), before=before, most=most)
    return Versions.of(list(found), most)


@router.get("/platform/config/{layer}/versions/{before}/diff/{after}")
async def platform_config_diff(  # noqa: PLR0917 - FastAPI passes them by name
    layer: LayerName, before: Number, after: Number, caller: Platform, control: Control
) -> Diff:
    """What is not the same in two versions."""
    found = await control.configs.diff(_of(layer, caller), before, after)
    return Diff(before=before, after=after, differences=tuple(found))
