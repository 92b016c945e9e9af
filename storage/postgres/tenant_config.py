"""Versions of config. A version is written once; the newest is what holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from models.errors import Conflict, NotFound
from models.principal import Tier
from models.tenant import TenantStatus
from models.tenant_config import NO_VERSION, ConfigVersion, Layer, LayerKey
from storage.postgres.tables.config import CONFIG_VERSIONS as V
from storage.postgres.tables.config import TENANT_SECRETS
from storage.postgres.tables.people import TENANTS, USERS


async def newest(connection: AsyncConnection, tenant_id: str, key: LayerKey) -> ConfigVersion:
    """What the layer says now; `NO_VERSION` where nobody has written it."""
    statement = select(V).where(_of(tenant_id, key)).order_by(V.c.version.desc()).limit(1)
    row = (await connection.execute(statement)).mappings().first()
    return _version(row) if row else NO_VERSION


async def at(connection: AsyncConnection, tenant_id: str, key: LayerKey, version: int) -> ConfigVersion:
    """What the layer said in a version; version 0 is before the first. NotFound if there is none."""
    if version == NO_VERSION.version:
        return NO_VERSION
    statement = select(V).where(_of(tenant_id, key), V.c.version == version)
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        raise NotFound(f"there is no version {version} of this config", field="version")
    return _version(row)


async def page(
    connection: AsyncConnection, tenant_id: str, key: LayerKey, *, before: int | None, most: int
) -> Sequence[ConfigVersion]:
    """Versions older than `before`, the newest first."""
    older = V.c.version < before if before is not None else V.c.version > 0
    statement = select(V).where(_of(tenant_id, key), older).order_by(V.c.version.desc()).limit(most)
    return [_version(row) for row in (await connection.execute(statement)).mappings()]


async def everything(
    connection: AsyncConnection, tenant_id: str
) -> AsyncIterator[tuple[LayerKey, ConfigVersion]]:
    """Every version of every layer of a tenant, as they were written."""
    statement = select(V).where(V.c.tenant_id == tenant_id).order_by(V.c.layer, V.c.subject, V.c.version)
    async with connection.stream(statement) as rows:
        async for row in rows.mappings():
            yield LayerKey(Layer(row["layer"]), row["subject"]), _version(row)


async def add(connection: AsyncConnection, tenant_id: str, key: LayerKey, version: ConfigVersion) -> None:
    """Write the next version; the caller holds the tenant (`hold`), so that nobody else does."""
    row = {"tenant_id": tenant_id, "layer": key.layer.value, "subject": key.subject}
    await connection.execute(insert(V).values(row | version.model_dump()))


async def hold(connection: AsyncConnection, tenant_id: str) -> Tier:
    """The tenant's tier, which stays so until the transaction ends; so do all configs of the tenant.

    NotFound for a tenant that is not there.
    """
    statement = (
        select(TENANTS.c.tier)
        .where(TENANTS.c.tenant_id == tenant_id, TENANTS.c.status != TenantStatus.DELETED)
        .with_for_update(key_share=True)
    )
    tier = (await connection.execute(statement)).scalar()
    if tier is None:
        raise NotFound("there is nothing of that name for you")
    return Tier(tier)


async def require_user(connection: AsyncConnection, tenant_id: str, user_id: str) -> None:
    """NotFound unless the tenant has such a user."""
    statement = select(USERS.c.user_id).where(USERS.c.tenant_id == tenant_id, USERS.c.user_id == user_id)
    if (await connection.execute(statement)).first() is None:
        raise NotFound("there is nothing of that name for you")


def check_is_newest(current: ConfigVersion, expected: int | None) -> None:
    """Conflict if somebody has written a version since the expected one was read."""
    if expected is not None and expected != current.version:
        raise Conflict(
            f"the config is at version {current.version}, not {expected}; read it again, then change it",
            field="version",
            details={"version": current.version},
        )


async def forget_user(connection: AsyncConnection, tenant_id: str, user_id: str) -> None:
    """Delete the config of a user who is deleted already, with its secrets."""
    await _forget(connection, tenant_id, LayerKey(Layer.USER, user_id))


async def forget_tenant(connection: AsyncConnection, tenant_id: str) -> None:
    """Delete every version of a tenant that is deleted already; its keys go by `tenant_secrets.destroy`."""
    await connection.execute(delete(V).where(V.c.tenant_id == tenant_id))


async def _forget(connection: AsyncConnection, tenant_id: str, key: LayerKey) -> None:
    secrets = TENANT_SECRETS.c
    mine = and_(
        secrets.tenant_id == tenant_id, secrets.layer == key.layer.value, secrets.subject == key.subject
    )
    await connection.execute(delete(TENANT_SECRETS).where(mine))
    await connection.execute(delete(V).where(_of(tenant_id, key)))


def _of(tenant_id: str, key: LayerKey) -> ColumnElement[bool]:
    return and_(V.c.tenant_id == tenant_id, V.c.layer == key.layer.value, V.c.subject == key.subject)


def _version(row: RowMapping) -> ConfigVersion:
    kept: dict[str, Any] = {name: row[name] for name in ConfigVersion.model_fields}
    return ConfigVersion.model_validate(kept)
