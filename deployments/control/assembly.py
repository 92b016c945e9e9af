"""Puts the desks of the control plane together on connections that somebody else opened and closes.

The same function serves a replica and the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, NoReturn, Protocol

from deployments.control.announcer import Announcer, Render
from deployments.control.audit.desk import AuditDesk
from deployments.control.audit.heads import HeadKeeper
from deployments.control.audit.refusals import Refusals
from deployments.control.auth import api_keys, sessions
from deployments.control.auth.assembly import AuthParts, auth_desks
from deployments.control.auth.passwords import Passwords
from deployments.control.changes import Changes
from deployments.control.config import ControlConfig
from deployments.control.people import desk as people
from deployments.control.people.desk import PeopleDesk
from deployments.control.people.invitations import InvitationDesk
from deployments.control.quotas.resource_limits import ResourceLimits
from deployments.control.quotas.resources import RefusalLog, TenantResourceManager
from deployments.control.services import ControlServices
from deployments.control.signing import signing
from deployments.control.tenant_config import desk as configs
from deployments.control.tenant_config.desk import ConfigDesk
from deployments.control.tenants import desk as tenants
from deployments.control.tenants.desk import TenantDesk
from deployments.control.tenants.duties import Duties
from deployments.control.tenants.farewell import Farewell
from deployments.control.tenants.founding import Founding
from deployments.control.tenants.tenant_duties import TenantDuties
from deployments.control.usage.desk import UsageCounting, UsageDesk
from deployments.control.usage.intake import UsageWires
from deployments.control.user_data.cache import UserDataCache
from deployments.control.user_data.desk import UserDataDesk, export_tenant
from deployments.control.user_data.mover import UserDataMover
from deployments.front.callers import callers_of
from deployments.front.limits import RateLimiter
from deployments.front.metering import UsageMeter
from deployments.front.tenant_config.limits import TenantLimits
from deployments.front.tenant_config.view import TenantConfigView
from deployments.front.tenants_tail import TenantsTail
from messaging.ports import Broadcast, EventBus
from models.metrics import Meter
from models.tenant import Kind
from storage.audit_signature import HeadSigner
from storage.audit_vault import AuditVault
from storage.memory import MemoryFastStore
from storage.ports import FastStore
from storage.postgres import resources as leases
from storage.postgres import user_data
from storage.postgres.database import Database
from storage.postgres.tenant_secrets import TenantSecrets
from storage.sealing import Sealer

_RENDERS: Final[dict[Kind, Render]] = {
    Kind.TENANT: tenants.render,
    Kind.USER: people.render,
    Kind.PLATFORM_CONFIG: configs.render,
    Kind.SESSION: sessions.render,
    Kind.API_KEY: api_keys.render,
    Kind.SIGNING_KEY: signing.render,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wires:
    """What the control plane talks to, and what it takes time and chance from."""

    database: Database
    bus: EventBus
    broadcast: Broadcast
    store: FastStore
    meter: Meter
    clock: Callable[[], int]
    monotonic: Callable[[], float]
    rng: Random


class Beside(Protocol):
    """A task beside the services, and how it gives back what it holds."""

    async def run(self) -> NoReturn: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """The services, and what must run as tasks beside them: `announcer.run()`, `tail.run()`, and `beside`."""

    services: ControlServices
    announcer: Announcer
    tail: TenantsTail
    founding: Founding
    duties: Duties
    beside: tuple[Beside, ...] = ()


def assemble(config: ControlConfig, wires: Wires) -> Assembled:
    """The control plane on these wires; ConfigError for a secret that is missing or weak."""
    tail = TenantsTail(wires.bus, clock=wires.clock, rng=wires.rng)
    announcer = Announcer(wires.database, wires.bus, _RENDERS, rng=wires.rng)
    tenant_duties = TenantDuties(wires.bus, wires.broadcast, clock=wires.clock)
    duties = Duties(wires.database, tenant_duties, clock=wires.clock, rng=wires.rng)
    changes = Changes(wires.database, announcer, wires.clock, doer=duties)
    sealer = Sealer.of(config.sealing_key.resolve())
    passwords = Passwords()
    view = TenantConfigView(tail.fold, tiers=config.tiers, environment=config.environment)
    limits = TenantLimits(view)
    limiter = RateLimiter(
        limits, shared=wires.store, local=MemoryFastStore(wires.clock), gateways=config.replicas
    )
    keeper = _head_keeper(config, wires)
    metering = UsageMeter(wires.bus, name="control", clock=wires.clock, rng=wires.rng, meter=wires.meter)
    mover = _mover(config, wires)
    config_desk = ConfigDesk(
        wires.database, changes, TenantSecrets(sealer), view=view, templates=config.templates
    )
    tenant_desk = TenantDesk(
        wires.database, changes, begin=config_desk.begin, passwords=passwords, rng=wires.rng
    )
    auth = auth_desks(
        config.auth,
        AuthParts(
            database=wires.database,
            changes=changes,
            announcer=announcer,
            passwords=passwords,
            sealer=sealer,
            fold=tail.fold,
            store=wires.store,
            clock=wires.clock,
            rng=wires.rng,
        ),
    )
    services = ControlServices(
        database=wires.database,
        changes=changes,
        refusals=Refusals(wires.database, wires.clock),
        tenants=tenant_desk,
        farewell=Farewell(
            wires.database,
            changes,
            exports=(config_desk.export, partial(export_tenant, wires.database)),
            erasers=(config_desk.erase, leases.forget, user_data.erase_tenant),
        ),
        people=PeopleDesk(wires.database, changes, passwords, wires.rng),
        invitations=InvitationDesk(wires.database, changes, passwords, wires.rng),
        resources=TenantResourceManager(
            wires.database,
            ResourceLimits(limits, tail.fold, tenant_desk.find),
            RefusalLog(changes),
            rng=wires.rng,
        ),
        configs=config_desk,
        tokens=callers_of(
            (config.tokens, *config.issuers, config.auth.tokens), tail.fold, clock=wires.clock, lenient=True
        ),
        auth=auth,
        audit=AuditDesk(wires.database, wires.bus, keeper),
        usage=UsageDesk(wires.database),
        metering=metering,
        user_data=_user_data(config, wires, changes),
        mover=mover,
        limiter=limiter,
        meter=wires.meter,
        clock=wires.clock,
        monotonic=wires.monotonic,
        rng=wires.rng,
        public_docs=config.public_docs,
        max_body_bytes=config.max_body_bytes,
        body_timeout_s=config.body_timeout_s,
    )
    beside: tuple[Beside, ...] = (duties, mover, auth.tidying)
    beside = (*beside, metering, _counting(config, wires), *([keeper] if keeper else []))
    founding = Founding(wires.database, changes, config.first_admin, passwords=passwords, rng=wires.rng)
    return Assembled(
        services=services, announcer=announcer, tail=tail, founding=founding, duties=duties, beside=beside
    )


def _user_data(config: ControlConfig, wires: Wires, changes: Changes) -> UserDataDesk:
    return UserDataDesk(
        database=wires.database,
        changes=changes,
        cache=UserDataCache(wires.store, wires.meter),
        policy=config.retention,
        clock=wires.clock,
    )


def _mover(config: ControlConfig, wires: Wires) -> UserDataMover:
    return UserDataMover(
        wires.database,
        wires.bus,
        config.retention,
        meter=wires.meter,
        clock=wires.clock,
        rng=wires.rng,
    )


def _counting(config: ControlConfig, wires: Wires) -> UsageCounting:
    return UsageCounting(
        UsageWires(
            database=wires.database,
            bus=wires.bus,
            meter=wires.meter,
            allowances={tier: limits.monthly for tier, limits in config.tiers.tiers.items()},
            clock=wires.clock,
            rng=wires.rng,
        )
    )


def _head_keeper(config: ControlConfig, wires: Wires) -> HeadKeeper | None:
    if config.audit.key is None:
        return None
    return HeadKeeper(
        wires.database,
        wires.bus,
        HeadSigner.of(config.audit.key.resolve()),
        vault=AuditVault(config.audit.vault) if config.audit.vault else None,
        meter=wires.meter,
        clock=wires.clock,
        rng=wires.rng,
        every_s=config.audit.heads_every_s,
    )
