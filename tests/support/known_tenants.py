"""A copy of `hub.tenants` that tests write as the log would."""

from __future__ import annotations

from typing import Any

from deployments.front.limits import Tiers
from deployments.front.tenant_config.view import TenantConfigView
from deployments.front.tenants_fold import TenantsFold
from messaging.ports import LogRecord
from models.principal import Tier
from models.tenant import (
    Kind,
    PlatformConfigRecord,
    TenantRecord,
    TenantsRecord,
    TenantStatus,
    UserRecord,
    tenants_key,
)


class KnownTenants:
    """`fold` says what was put, the last word on each key counts; `view` resolves it."""

    def __init__(self, tiers: Tiers) -> None:
        self.fold = TenantsFold()
        self.view = TenantConfigView(self.fold, tiers=tiers, environment="test")
        self._offset = -1

    def put(self, kind: Kind, *ids: str, record: TenantsRecord) -> None:
        """The next record of the log."""
        self._offset += 1
        value = record.model_dump_json(by_alias=True).encode()
        self.fold.take_all([LogRecord("hub.tenants", 0, self._offset, 0, tenants_key(kind, *ids), value)])

    def tenant(self, tenant_id: str = "acme", tier: Tier = Tier.PRO, **more: Any) -> None:
        """A tenant, active unless told otherwise."""
        facts = {"status": TenantStatus.ACTIVE, "entitled_until_ns": 1, "version": 1} | more
        record = TenantRecord(tenant_id=tenant_id, tier=tier, **facts)
        self.put(Kind.TENANT, tenant_id, record=record)

    def user(self, tenant_id: str, user_id: str, config: dict[str, Any], version: int = 1) -> None:
        """A user's own layer."""
        record = UserRecord(tenant_id=tenant_id, user_id=user_id, config=config, config_version=version)
        self.put(Kind.USER, tenant_id, user_id, record=record)

    def layer(self, name: str, config: dict[str, Any], version: int = 1) -> None:
        """A layer of the platform's."""
        record = PlatformConfigRecord(layer=name, config=config, config_version=version)
        self.put(Kind.PLATFORM_CONFIG, name, record=record)
