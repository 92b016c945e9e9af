"""One write of one layer of config, in somebody's change: checked, sealed, versioned, noted and announced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.control.changes import Change
from deployments.front.tenant_config.documents import SECRET_SET, differences, public
from deployments.front.tenant_config.resolution import LayerValues, Resolved, check_within
from deployments.front.tenant_config.schema import Setting, setting_of
from deployments.front.tenant_config.view import TenantConfigView
from models.errors import BadValue
from models.tenant import Kind
from models.tenant_config import OWN_LAYERS, ConfigVersion, Layer, LayerKey
from storage.postgres import tenant_config
from storage.postgres.tenant_secrets import Place, TenantSecrets

SEALED: Final = "sealed"
"""Documents hold `{"sealed": its id}` in place of a secret. No caller can say that: a secret is text."""


class Writing:
    """From `begun` to `finished`, the tenant is held: of several writers each sees what the last one left."""

    def __init__(
        self, change: Change, key: LayerKey, secrets: TenantSecrets, *, current: ConfigVersion
    ) -> None:
        self._change = change
        self._key = key
        self._secrets = secrets
        self.current = current
        self._inherited: Resolved | None = None

    @property
    def connection(self) -> AsyncConnection:
        return self._change.connection

    @classmethod
    async def begun(
        cls,
        change: Change,
        key: LayerKey,
        *,
        secrets: TenantSecrets,
        view: TenantConfigView,
        expected: int | None = None,
    ) -> Writing:
        """NotFound for a tenant or user that is not there, Conflict if the layer is not at the expected
        version.
        """
        connection, tenant_id = change.connection, change.tenant_id
        tier = await tenant_config.hold(connection, tenant_id)
        if key.layer is Layer.USER:
            await tenant_config.require_user(connection, tenant_id, key.subject)
        current = await tenant_config.newest(connection, tenant_id, key)
        tenant_config.check_is_newest(current, expected)
        writing = cls(change, key, secrets, current=current)
        if key.layer in OWN_LAYERS:
            writing._inherited = view.platform(tier)
        if key.layer is Layer.USER:
            above = await tenant_config.newest(connection, tenant_id, LayerKey(Layer.TENANT))
            writing._inherited = view.platform(tier).under(
                LayerValues(Layer.TENANT, above.version, public(above.document))
            )
        return writing

    async def laid(self, values: Mapping[str, Any], onto: Mapping[str, Any]) -> dict[str, Any]:
        """A document with these values, None taking one out. BadValue for a name that is no setting's."""
        document = dict(onto)
        for name, value in values.items():
            setting = setting_of(name)
            if value is None:
                document.pop(name, None)
            elif setting.secret:
                document[name] = await self._sealed(setting, value)
            else:
                document[name] = value
        return document

    async def finished(self, document: Mapping[str, Any], *, comment: str, action: str) -> ConfigVersion:
        """Write the next version, if anything in it is new. BadValue for what the layer may not say: of all
        that is new in it, so that what was taken once stands until somebody touches it.
        """
        changed = differences(self.current.document, document)
        new = {one.name: document[one.name] for one in changed if one.name in document}
        self._check(new)
        if not changed:
            return self.current
        change = self._change
        version = ConfigVersion(
            version=self.current.version + 1,
            author=change.actor,
            at_ns=change.now_ns,
            comment=comment,
            document=dict(document),
        )
        await tenant_config.add(change.connection, change.tenant_id, self._key, version)
        told = [one.model_dump() for one in changed]
        await change.note(action, str(self._key), version=version.version, comment=comment, changed=told)
        await self._announce()
        return version

    def _check(self, new: Mapping[str, Any]) -> None:
        plain = {name: value for name, value in new.items() if not setting_of(name).secret}
        for name in new:
            if name in plain:
                setting_of(name).check(self._key.layer, plain[name])
            else:
                setting_of(name).check_layer(self._key.layer)
        if self._inherited:
            check_within(self._inherited, self._key.layer, plain)

    async def _sealed(self, setting: Setting, value: Any) -> dict[str, Any]:
        """A reference to the secret. What reads as set stays, so that what was read can be sent back."""
        if value == SECRET_SET:
            kept: dict[str, Any] | None = self.current.document.get(setting.name)
            if kept is None:
                raise BadValue(f"{setting.name} is not set; give its value", field=setting.name)
            return kept
        setting.check(self._key.layer, value)
        change = self._change
        place = Place(change.tenant_id, self._key, setting.name)
        return {SEALED: await self._secrets.keep(change.connection, place, value, now_ns=change.now_ns)}

    async def _announce(self) -> None:
        tenant_id = self._change.tenant_id
        if self._key.layer is Layer.TENANT:
            await self._change.announce(Kind.TENANT, tenant_id)
        elif self._key.layer is Layer.USER:
            await self._change.announce(Kind.USER, tenant_id, self._key.subject)
        else:
            await self._change.announce(Kind.PLATFORM_CONFIG, str(self._key))
