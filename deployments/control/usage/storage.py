"""What is stored of each tenant, measured once a day: the one measure that nobody reports."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime
from random import Random
from typing import Final, NoReturn

from deployments.control.usage.alerts import Allowances, raise_alerts
from models.errors import HubError
from models.tenant import Tenant, TenantStatus
from models.usage import Measure, UsageKey
from storage.postgres import tenants, usage
from storage.postgres.database import Database

_LOG: Final = logging.getLogger("ray.serve")
FEATURE: Final = "storage"
_EVERY_S: Final = 3600.0
_PAGE: Final = 200
_KEPT_NS: Final = 100 * 86_400 * 10**9
"""Longer than `hub.usage` keeps reports: no source is forgotten of which one may come again."""


class StorageCount:
    """Run `run` as a task. `clock` is wall time in nanoseconds."""

    def __init__(
        self, database: Database, allowances: Allowances, *, clock: Callable[[], int], rng: Random
    ) -> None:
        self._database = database
        self._allowances = allowances
        self._clock = clock
        self._rng = rng
        self._counted: date | None = None

    async def run(self) -> NoReturn:
        """Measure soon after each day has begun, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S * self._rng.random())
            try:
                await self.measure()
            except HubError as error:
                _LOG.warning("what tenants store is not measured: %s", error.message)

    async def measure(self) -> None:
        """Measure all tenants, unless this process did so today. Twice does no harm: the most counts."""
        today = datetime.fromtimestamp(self._clock() // 10**9, UTC).date()
        if self._counted == today:
            return
        after: str | None = ""
        while after is not None:
            async with self._database.platform() as connection:
                found = await tenants.page(connection, after=after, most=_PAGE)
            for tenant in found:
                if tenant.status is not TenantStatus.DELETED:
                    await self._measure(tenant, today)
            after = found[-1].tenant_id if len(found) == _PAGE else None
        async with self._database.platform() as connection:
            await usage.forget_sources(connection, before_ns=self._clock() - _KEPT_NS)
        self._counted = today

    async def _measure(self, tenant: Tenant, today: date) -> None:
        async with self._database.tenant(tenant.tenant_id) as connection:
            stored = await usage.stored_bytes(connection, tenant.tenant_id)
        key = UsageKey(tenant.tenant_id, "", today, tenant.tier.value, FEATURE, Measure.STORAGE_BYTES)
        async with self._database.platform() as connection:
            await usage.peak(connection, {key: stored})
            await raise_alerts(connection, {key: stored}, self._allowances, now_ns=self._clock())
