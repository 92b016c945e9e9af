"""The audit logs for who has the database itself: checked against what was signed, and ended by retention.

An auditor needs no hub that runs: the platform's login, the broker's log of heads or the vault, and the keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

from deployments.control.audit.heads import kept_heads
from deployments.control.config import AuditConfig
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from models.audit import AuditReport, SignedHead
from models.errors import ConfigError
from models.retention import RetentionRule
from storage.audit_signature import HeadSigner, HeadVerifier
from storage.audit_vault import AuditVault
from storage.postgres.audit_check import AuditCheck, Vouchers, tenants
from storage.postgres.audit_purge import cut, purge, removable
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database, engine, translated


def public_keys(audit: AuditConfig, given: Sequence[str]) -> Sequence[str]:
    """Those that were given, or those of the settings' own signing key."""
    return given or (HeadSigner.of(audit.key.resolve()).public_keys if audit.key else ())


async def signed_heads(kafka: KafkaConfig, audit: AuditConfig) -> Sequence[SignedHead]:
    """What the broker and the vault hold; a place that is not there is an error, never an empty answer."""
    bus = await open_bus(kafka, client_id="hub-audit")
    try:
        found = list(await kept_heads(bus))
    finally:
        await bus.close()
    if audit.vault:
        found += await asyncio.to_thread(lambda: list(AuditVault(audit.vault or "").heads()))
    return found


async def verify_logs(
    postgres: PostgresConfig,
    wanted: Sequence[str],
    vouchers: Vouchers,
    *,
    advance: Callable[[int], None] | None = None,
) -> AuditReport:
    """Check the logs of these tenants, or of all."""
    database = Database(postgres)
    try:
        async with database.platform() as connection:
            every = sorted(vouchers.tenants.union(await tenants(connection)))
            return await AuditCheck(connection, vouchers, advance=advance).run(wanted or every)
    finally:
        await database.close()


async def purge_logs(
    postgres: PostgresConfig, signer: HeadSigner, *, before: date, actor: str, now: datetime
) -> dict[str, int]:
    """Cut every log behind its last entry of the day `before`, and delete what is older; entries by tenant.

    ConfigError without the owner's login, or for a log that is not sound: nothing of it is deleted.
    """
    if postgres.owner is None:
        raise ConfigError("postgres.owner is missing: only the owner deletes", field="postgres.owner")
    end = datetime.combine(before + timedelta(days=1), datetime.min.time(), UTC)
    verifier = HeadVerifier(signer.public_keys)
    database, owner = Database(postgres), engine(postgres, postgres.owner, pool_size=1)
    try:
        async with database.platform() as connection:
            every = await tenants(connection)
        gone = {}
        for tenant_id in every:
            await _cut(database, tenant_id, signer, int(end.timestamp()) * 10**9, actor=actor, now=now)
            with translated():
                async with owner.begin() as connection:
                    gone[tenant_id] = await purge(connection, tenant_id, verifier)
        return gone
    finally:
        await database.close()
        await owner.dispose()


async def _cut(
    database: Database, tenant_id: str, signer: HeadSigner, before_ns: int, *, actor: str, now: datetime
) -> None:
    async with database.tenant(tenant_id) as connection:
        at = await removable(connection, tenant_id, before_ns=before_ns)
        if at is None:
            return
        checked = await AuditCheck(connection, Vouchers(HeadVerifier(signer.public_keys))).run([tenant_id])
        if not checked.sound:
            raise ConfigError(f"the audit log of {tenant_id} is not sound: {checked.findings[0].says}")
        await cut(connection, tenant_id, at, signer, actor=actor, now_ns=int(now.timestamp() * 1e9))


def purgeable(rule: RetentionRule | None, today: date, holds: Iterable[date]) -> date:
    """The last day whose entries may go; ConfigError if none may, or no rule says."""
    day = rule.expired_on(today, holds=tuple(holds)) if rule else None
    if day is None:
        raise ConfigError("nothing may be deleted: no rule of retention says so, or a hold is in force")
    return day
