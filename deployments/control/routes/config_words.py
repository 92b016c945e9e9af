"""What requests and answers about config are made of."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from fastapi import Path, Query
from pydantic import Field, StringConstraints

from deployments.control.tenant_config.desk import Shown
from deployments.front.tenant_config.documents import Difference, nested, public
from models.base import Frozen
from models.tenant_config import ConfigVersion, LayerKey

_LATEST: Final = 10**9

Comment = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Number = Annotated[int, Path(ge=0, le=_LATEST, description="A version; 0 is before the first")]
Expected = Annotated[
    int | None,
    Query(
        ge=0,
        le=_LATEST,
        description="The version you have read; the change is refused if it is another. 0: nobody wrote yet",
    ),
]
Replaced = Annotated[
    int, Query(ge=0, le=_LATEST, description="The version you have read, which the whole of this replaces")
]
Before = Annotated[
    int | None, Query(ge=1, le=_LATEST, description="Begin below this version: the `next` of the last page")
]


class ConfigChange(Frozen):
    """Settings by dotted name, nested, or both: `{"risk": {"scale": 0.5}, "risk.max_fraction": 0.2}`."""

    config: dict[str, Any] = Field(repr=False, examples=[{"risk": {"scale": 0.5}}])
    comment: Comment = ""


class Rollback(Frozen):
    """The version whose document is written again."""

    to: Annotated[int, Field(ge=0, le=_LATEST)]
    comment: Comment = ""


class TemplateUse(Frozen):
    """A template of `GET /config-templates`."""

    template: Annotated[str, StringConstraints(max_length=40)]
    comment: Comment = ""


class Heading(Frozen):
    """One version of a layer, without what it says."""

    version: int
    author: str
    at_ns: int
    comment: str

    @classmethod
    def of(cls, version: ConfigVersion) -> Self:
        return cls.model_validate(version.model_dump(exclude={"document"}))


class Versions(Frozen):
    """The newest first; `next` is where the next page begins."""

    versions: tuple[Heading, ...]
    next: int | None = None

    @classmethod
    def of(cls, found: list[ConfigVersion], most: int) -> Self:
        following = found[-1].version if len(found) == most and found[-1].version > 1 else None
        return cls(versions=tuple(map(Heading.of, found)), next=following)


class Diff(Frozen):
    """What is not the same in two versions. Of a secret it says only that."""

    before: int
    after: int
    differences: tuple[Difference, ...]


class LayerDocument(Heading):
    """What one layer says, nested. A secret reads `{"secret": true, "set": true}`."""

    tenant_id: str
    layer: str
    document: dict[str, Any]

    @classmethod
    def made(cls, tenant_id: str, key: LayerKey, version: ConfigVersion) -> Self:
        heading = version.model_dump(exclude={"document"})
        document = nested(public(version.document))
        return cls(tenant_id=tenant_id, layer=str(key), document=document, **heading)


class OwnConfig(LayerDocument):
    """The same with what holds once all layers are taken together, and where each value is from."""

    config: dict[str, Any]
    origins: dict[str, dict[str, Any]]
    features: dict[str, bool]

    @classmethod
    def shown(cls, tenant_id: str, key: LayerKey, found: Shown) -> OwnConfig:
        page = LayerDocument.made(tenant_id, key, found.version)
        told = found.effective.told() if found.effective else {}
        return cls(**page.model_dump(), **{name: told[name] for name in ("config", "origins", "features")})


class Secret(Frozen):
    """A secret in plain words."""

    name: str
    value: str = Field(repr=False)


class Resealed(Frozen):
    """How many secrets were sealed anew."""

    secrets: int
