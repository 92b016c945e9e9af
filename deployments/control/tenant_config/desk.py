"""Config of tenants, users and the platform: read, written, compared and taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.control.acting import absent
from deployments.control.changes import Change, Changes
from deployments.control.tenant_config.writing import SEALED, Writing
from deployments.front.tenant_config.documents import Difference, differences, flat, public
from deployments.front.tenant_config.resolution import LayerValues
from deployments.front.tenant_config.schema import setting_of
from deployments.front.tenant_config.templates import Templates
from deployments.front.tenant_config.view import EffectiveConfig, Owner, TenantConfigView
from models.errors import BadValue
from models.tenant import PLATFORM_TENANT, PlatformConfigRecord, TenantStatus
from models.tenant_config import ConfigVersion, Layer, LayerKey
from storage.postgres import tenant_config, tenants
from storage.postgres.database import Database
from storage.postgres.tenant_secrets import Place, TenantSecrets

_AT_A_TIME: Final = 200


class On(NamedTuple):
    """Which layer, of which tenant, and who is at it."""

    tenant_id: str
    key: LayerKey
    by: str


class Shown(NamedTuple):
    """The newest version of a layer; for a tenant's own, what holds with it."""

    version: ConfigVersion
    effective: EffectiveConfig | None


class ConfigDesk:
    """What the routes of config call. The layer that is asked for is read from the database; what the
    platform's layers say to it is this process's own copy, hardly older than a second.
    """

    def __init__(
        self,
        database: Database,
        changes: Changes,
        secrets: TenantSecrets,
        *,
        view: TenantConfigView,
        templates: Templates,
    ) -> None:
        self._database = database
        self._changes = changes
        self._secrets = secrets
        self._view = view
        self.templates = templates

    async def show(self, on: On) -> Shown:
        """The layer now; NotFound for a tenant or user that is not there."""
        async with self._reading(on) as connection:
            current = await tenant_config.newest(connection, on.tenant_id, on.key)
            if on.key.layer not in {Layer.TENANT, Layer.USER}:
                return Shown(current, None)
            return Shown(current, await self._effective(connection, on, current))

    async def put(self, on: On, config: Mapping[str, Any], *, comment: str, expected: int) -> ConfigVersion:
        """Replace the whole layer."""
        async with self._writing(on, expected) as writing:
            document = await writing.laid(flat(config), onto={})
            return await writing.finished(document, comment=comment, action="config.put")

    async def patch(
        self, on: On, config: Mapping[str, Any], *, comment: str, expected: int | None
    ) -> ConfigVersion:
        """Change what is named; null takes a setting out of the layer."""
        async with self._writing(on, expected) as writing:
            document = await writing.laid(flat(config), onto=writing.current.document)
            return await writing.finished(document, comment=comment, action="config.change")

    async def rollback(self, on: On, to: int, *, comment: str, expected: int | None) -> ConfigVersion:
        """Write what a version said as the next one. BadValue if the layer may not say that any more."""
        async with self._writing(on, expected) as writing:
            old = await tenant_config.at(writing.connection, on.tenant_id, on.key, to)
            told = comment or f"as version {to}"
            return await writing.finished(old.document, comment=told, action="config.rollback")

    async def apply(self, on: On, template: str, *, comment: str, expected: int | None) -> ConfigVersion:
        """Set what the template sets; BadValue names what the tier does not allow of it."""
        values = self.templates.find(template).config
        async with self._writing(on, expected) as writing:
            document = await writing.laid(values, onto=writing.current.document)
            told = comment or f"template {template}"
            return await writing.finished(document, comment=told, action="config.template")

    async def begin(self, change: Change, template: str) -> None:
        """Give a tenant what a template sets, in the change that makes it."""
        values = self.templates.find(template).config
        key = LayerKey(Layer.TENANT)
        writing = await Writing.begun(change, key, secrets=self._secrets, view=self._view)
        document = await writing.laid(values, onto={})
        await writing.finished(document, comment=f"template {template}", action="config.template")

    async def history(self, on: On, *, before: int | None, most: int) -> Sequence[ConfigVersion]:
        """Versions, the newest first."""
        async with self._reading(on) as connection:
            return await tenant_config.page(connection, on.tenant_id, on.key, before=before, most=most)

    async def at(self, on: On, version: int) -> ConfigVersion:
        """One version; NotFound if there is none."""
        async with self._reading(on) as connection:
            return await tenant_config.at(connection, on.tenant_id, on.key, version)

    async def diff(self, on: On, first: int, second: int) -> Sequence[Difference]:
        """What became of every setting between two versions; version 0 is before the first."""
        return differences((await self.at(on, first)).document, (await self.at(on, second)).document)

    async def secret(self, on: On, name: str) -> str:
        """A secret of this layer in plain words; that it was read is written down first."""
        if not setting_of(name).secret:
            raise BadValue(f"{name} is no secret; it stands in the config", field="name")
        async with self._changes.of(on.tenant_id, actor=on.by) as change:
            await self._require(change.connection, on)
            current = await tenant_config.newest(change.connection, on.tenant_id, on.key)
            reference = current.document.get(name)
            if reference is None:
                raise absent()
            place = Place(on.tenant_id, on.key, name)
            secret = await self._secrets.open(change.connection, place, reference[SEALED])
            await change.note("config.read_secret", str(on.key), name=name)
        return secret

    async def rotate_key(self, tenant_id: str, *, by: str) -> int:
        """Give the tenant a new data key and seal every secret with it; how many there were."""
        async with self._changes.of(tenant_id, actor=by) as change:
            await tenant_config.hold(change.connection, tenant_id)
            version = await self._secrets.rotate(change.connection, tenant_id, now_ns=change.now_ns)
            await change.note("config.rotate_key", tenant_id, version=version)
        return await self.reseal(tenant_id)

    async def reseal(self, tenant_id: str) -> int:
        """Seal with the newest keys, the hub's and the tenant's, what older ones sealed; how many secrets."""
        done = 0
        while True:
            async with self._database.tenant(tenant_id) as connection:
                some = await self._secrets.reseal(connection, tenant_id, most=_AT_A_TIME)
            done += some
            if not some:
                return done

    async def export(self, tenant_id: str) -> AsyncIterator[bytes]:
        """Every version of the tenant's own layers, one JSON object a line, without secrets."""
        async with self._database.reading(tenant_id) as connection:
            async for key, version in tenant_config.everything(connection, tenant_id):
                page = version.model_dump() | {"document": public(version.document)}
                yield orjson.dumps({"what": "config", "layer": str(key), **page}) + b"\n"

    @staticmethod
    async def erase(connection: AsyncConnection, tenant_id: str) -> None:
        """Destroy the keys of a tenant that is deleted, with them all its secrets, and its config."""
        await TenantSecrets.destroy(connection, tenant_id)
        await tenant_config.forget_tenant(connection, tenant_id)

    @asynccontextmanager
    async def _writing(self, on: On, expected: int | None) -> AsyncIterator[Writing]:
        async with self._changes.of(on.tenant_id, actor=on.by) as change:
            yield await Writing.begun(
                change, on.key, secrets=self._secrets, view=self._view, expected=expected
            )

    @asynccontextmanager
    async def _reading(self, on: On) -> AsyncIterator[AsyncConnection]:
        async with self._database.reading(on.tenant_id) as connection:
            await self._require(connection, on)
            yield connection

    @staticmethod
    async def _require(connection: AsyncConnection, on: On) -> None:
        found = await tenants.find(connection, on.tenant_id)
        if found is None or found.status is TenantStatus.DELETED:
            raise absent()
        if on.key.layer is Layer.USER:
            await tenant_config.require_user(connection, on.tenant_id, on.key.subject)

    async def _effective(
        self, connection: AsyncConnection, on: On, current: ConfigVersion
    ) -> EffectiveConfig:
        found = await tenants.find(connection, on.tenant_id)
        if found is None:
            raise absent()
        if on.key.layer is Layer.TENANT:
            own, user_id = [_values(Layer.TENANT, current)], None
        else:
            above = await tenant_config.newest(connection, on.tenant_id, LayerKey(Layer.TENANT))
            own, user_id = [_values(Layer.TENANT, above), _values(Layer.USER, current)], on.key.subject
        return self._view.over(Owner(on.tenant_id, user_id, found.tier), own)


async def config_fields(connection: AsyncConnection, tenant_id: str, key: LayerKey) -> dict[str, Any]:
    """The part of a tenant's or a user's record in the log that is about config: without secrets."""
    current = await tenant_config.newest(connection, tenant_id, key)
    return {"config": public(current.document), "config_version": current.version}


async def render(connection: AsyncConnection, ids: Sequence[str]) -> PlatformConfigRecord:
    """What the log says of a layer of the platform's."""
    layer, _, subject = ids[0].partition(".")
    key = LayerKey(Layer(layer), subject)
    return PlatformConfigRecord(layer=ids[0], **await config_fields(connection, PLATFORM_TENANT, key))


def _values(layer: Layer, version: ConfigVersion) -> LayerValues:
    return LayerValues(layer, version.version, public(version.document))
