"""Secrets of tenants, sealed with a key of the tenant's own that is itself sealed with the hub's.

A sealed value is bound to its tenant, layer, subject, name and id: moved to any other place it does not open.
A tenant's key rotates by a newer one; the older ones open what they sealed until all of that is sealed anew.
With the keys gone, so are the secrets.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

import orjson
from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from models.errors import NotFound
from models.tenant_config import Layer, LayerKey
from storage.postgres.tables.config import TENANT_DATA_KEYS as K
from storage.postgres.tables.config import TENANT_SECRETS as S
from storage.sealing import KEY_BYTES, Sealer

_ID_BYTES: Final = 16


class Place(NamedTuple):
    """Where a secret belongs."""

    tenant_id: str
    key: LayerKey
    name: str

    def context(self, secret_id: str) -> str:
        """What a sealed value is bound to: a JSON array, so that no separator can be forged."""
        parts = [self.tenant_id, self.key.layer.value, self.key.subject, self.name, secret_id]
        return orjson.dumps(parts).decode()


class TenantSecrets:
    """Keeps and opens secrets in somebody's transaction on one tenant. `sealer` holds the hub's keys."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def keep(self, connection: AsyncConnection, place: Place, secret: str, *, now_ns: int) -> str:
        """Seal a value; its id, which is what documents hold of it."""
        key_version, key = await self._newest_key(connection, place.tenant_id, now_ns=now_ns)
        secret_id = os.urandom(_ID_BYTES).hex()
        row = {
            "tenant_id": place.tenant_id,
            "secret_id": secret_id,
            "layer": place.key.layer.value,
            "subject": place.key.subject,
            "name": place.name,
            "key_version": key_version,
            "sealed": key.seal(secret.encode(), context=place.context(secret_id)),
            "created_ns": now_ns,
        }
        await connection.execute(insert(S).values(row))
        return secret_id

    async def open(self, connection: AsyncConnection, place: Place, secret_id: str) -> str:
        """The value. NotFound if it is not there or is elsewhere's, CannotOpen if it was altered or moved."""
        statement = select(S, K.c.wrapped).join(K, _its_key()).where(S.c.secret_id == secret_id)
        row = (await connection.execute(statement)).mappings().first()
        if row is None or _place(row) != place:
            raise NotFound("there is nothing of that name for you")
        key = self._unwrapped(row["wrapped"], place.tenant_id, row["key_version"])
        return key.open(row["sealed"], context=place.context(secret_id)).decode()

    async def rotate(self, connection: AsyncConnection, tenant_id: str, *, now_ns: int) -> int:
        """Make a newer key, which seals from now on; its version."""
        statement = select(func.max(K.c.version)).where(K.c.tenant_id == tenant_id)
        version = 1 + ((await connection.execute(statement)).scalar() or 0)
        await self._make_key(connection, tenant_id, version, now_ns=now_ns)
        return version

    async def reseal(self, connection: AsyncConnection, tenant_id: str, *, most: int) -> int:
        """Seal anew with the newest keys, the tenant's and the hub's, what older ones did; how many secrets.

        Where none is left, the older keys of the tenant are destroyed. Repeat until it says 0.
        """
        await self._rewrap(connection, tenant_id)
        newest = (
            await connection.execute(select(func.max(K.c.version)).where(K.c.tenant_id == tenant_id))
        ).scalar()
        if newest is None:
            return 0
        older = and_(S.c.tenant_id == tenant_id, S.c.key_version < newest)
        statement = select(S, K.c.wrapped).join(K, _its_key()).where(older).limit(most).with_for_update(of=S)
        rows = (await connection.execute(statement)).mappings().all()
        if not rows:
            await connection.execute(delete(K).where(K.c.tenant_id == tenant_id, K.c.version < newest))
            return 0
        key = await self._key(connection, tenant_id, newest)
        for row in rows:
            await self._seal_anew(connection, row, key, newest)
        return len(rows)

    @staticmethod
    async def destroy(connection: AsyncConnection, tenant_id: str) -> int:
        """Destroy the tenant's keys and with them all its secrets, for good; how many keys."""
        await connection.execute(delete(S).where(S.c.tenant_id == tenant_id))
        gone = delete(K).where(K.c.tenant_id == tenant_id).returning(K.c.version)
        return len((await connection.execute(gone)).all())

    async def _newest_key(
        self, connection: AsyncConnection, tenant_id: str, *, now_ns: int
    ) -> tuple[int, Sealer]:
        statement = select(K).where(K.c.tenant_id == tenant_id).order_by(K.c.version.desc()).limit(1)
        row = (await connection.execute(statement)).mappings().first()
        if row is None:
            return 1, await self._make_key(connection, tenant_id, 1, now_ns=now_ns)
        return row["version"], self._unwrapped(row["wrapped"], tenant_id, row["version"])

    async def _key(self, connection: AsyncConnection, tenant_id: str, version: int) -> Sealer:
        statement = select(K.c.wrapped).where(K.c.tenant_id == tenant_id, K.c.version == version)
        wrapped = (await connection.execute(statement)).scalar_one()
        return self._unwrapped(wrapped, tenant_id, version)

    async def _make_key(
        self, connection: AsyncConnection, tenant_id: str, version: int, *, now_ns: int
    ) -> Sealer:
        key = os.urandom(KEY_BYTES)
        wrapped = self._sealer.seal(key, context=_key_context(tenant_id, version))
        row = {"tenant_id": tenant_id, "version": version, "wrapped": wrapped, "created_ns": now_ns}
        await connection.execute(insert(K).values(row))
        return Sealer([key])

    async def _rewrap(self, connection: AsyncConnection, tenant_id: str) -> None:
        """Seal the tenant's keys with the hub's newest, where an older one did."""
        for row in (await connection.execute(select(K).where(K.c.tenant_id == tenant_id))).mappings().all():
            if self._sealer.is_current(row["wrapped"]):
                continue
            context = _key_context(tenant_id, row["version"])
            wrapped = self._sealer.seal(self._sealer.open(row["wrapped"], context=context), context=context)
            mine = and_(K.c.tenant_id == tenant_id, K.c.version == row["version"])
            await connection.execute(update(K).where(mine).values(wrapped=wrapped))

    async def _seal_anew(
        self, connection: AsyncConnection, row: RowMapping, key: Sealer, version: int
    ) -> None:
        place, secret_id = _place(row), row["secret_id"]
        context = place.context(secret_id)
        old = self._unwrapped(row["wrapped"], place.tenant_id, row["key_version"])
        sealed = key.seal(old.open(row["sealed"], context=context), context=context)
        statement = update(S).where(S.c.tenant_id == place.tenant_id, S.c.secret_id == secret_id)
        await connection.execute(statement.values(sealed=sealed, key_version=version))

    def _unwrapped(self, wrapped: bytes, tenant_id: str, version: int) -> Sealer:
        return Sealer([self._sealer.open(wrapped, context=_key_context(tenant_id, version))])


def _key_context(tenant_id: str, version: int) -> str:
    return f"tenant-key/{tenant_id}/{version}"


def _place(row: RowMapping) -> Place:
    return Place(row["tenant_id"], LayerKey(Layer(row["layer"]), row["subject"]), row["name"])


def _its_key() -> ColumnElement[bool]:
    return and_(S.c.tenant_id == K.c.tenant_id, S.c.key_version == K.c.version)
