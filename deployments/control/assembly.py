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
from deployments.control.audit.denials import DenialIntake
from deployments.control.audit.desk import AuditDesk
from deployments.control.audit.heads import HeadKeeper
from deployments.control.audit.refusals import Refusals
from deployments.control.auth import api_keys, sessions
from deployments.control.auth.assembly import AuthDesks, AuthParts, auth_desks
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
from deployments.front.callers import CallerVerifier, callers_of
from deployments.front.catching_up import CatchingUp
from deployments.front.denials import DenialLog
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What every desk stands on."""

    config: ControlConfig
    wires: Wires
    tail: TenantsTail
    announcer: Announcer
    duties: Duties
    changes: Changes
    passwords: Passwords
    view: TenantConfigView
    denials: DenialLog

    @property
    def database(self) -> Database:
        return self.wires.database


def assemble(config: ControlConfig, wires: Wires) -> Assembled:
    """The control plane on these wires; ConfigError for a secret that is missing or weak."""
    ground = _ground(config, wires)
    keeper, mover, metering = _head_keeper(config, wires), _mover(config, wires), _metering(wires)
    services = _services(ground, keeper, mover, metering)
    counting, intake = _counting(config, wires), _denial_intake(wires)
    beside: tuple[Beside, ...] = (
        ground.duties,
        ground.denials,
        mover,
        services.auth.tidying,
        metering,
        counting,
        intake,
    )
    return Assembled(
        services=services,
        announcer=ground.announcer,
        tail=ground.tail,
        founding=Founding(
            ground.database, ground.changes, config.first_admin, passwords=ground.passwords, rng=wires.rng
        ),
        duties=ground.duties,
        beside=(*beside, keeper) if keeper else beside,
    )


def _ground(config: ControlConfig, wires: Wires) -> _Ground:
    tail = TenantsTail(wires.bus, clock=wires.clock, rng=wires.rng)
    announcer = Announcer(wires.database, wires.bus, _RENDERS, rng=wires.rng)
    elsewhere = TenantDuties(wires.bus, wires.broadcast, clock=wires.clock)
    duties = Duties(wires.database, elsewhere, clock=wires.clock, rng=wires.rng)
    return _Ground(
        config=config,
        wires=wires,
        tail=tail,
        announcer=announcer,
        duties=duties,
        changes=Changes(wires.database, announcer, wires.clock, doer=duties),
        passwords=Passwords(),
        view=TenantConfigView(tail.fold, tiers=config.tiers, environment=config.environment),
        denials=_denials(wires),
    )


def _services(
    ground: _Ground, keeper: HeadKeeper | None, mover: UserDataMover, metering: UsageMeter
) -> ControlServices:
    config, wires = ground.config, ground.wires
    sealer, limits = Sealer.of(config.sealing_key.resolve()), TenantLimits(ground.view)
    secrets = TenantSecrets(sealer)
    config_desk = ConfigDesk(
        ground.database, ground.changes, secrets, view=ground.view, templates=config.templates
    )
    tenant_desk = TenantDesk(
        ground.database, ground.changes, begin=config_desk.begin, passwords=ground.passwords, rng=wires.rng
    )
    return ControlServices(
        database=ground.database,
        changes=ground.changes,
        refusals=Refusals(ground.database, wires.clock),
        denials=ground.denials,
        tenants=tenant_desk,
        farewell=_farewell(ground, config_desk),
        people=PeopleDesk(ground.database, ground.changes, ground.passwords, wires.rng),
        invitations=InvitationDesk(ground.database, ground.changes, ground.passwords, wires.rng),
        resources=_quotas(ground, limits, tenant_desk),
        configs=config_desk,
        tokens=_callers(ground),
        auth=_auth(ground, sealer),
        audit=AuditDesk(ground.database, wires.bus, keeper),
        usage=UsageDesk(ground.database),
        metering=metering,
        user_data=_user_data(ground),
        mover=mover,
        limiter=_limiter(ground, limits),
        meter=wires.meter,
        clock=wires.clock,
        monotonic=wires.monotonic,
        rng=wires.rng,
        public_docs=config.public_docs,
        max_body_bytes=config.max_body_bytes,
        body_timeout_s=config.body_timeout_s,
    )


def _farewell(ground: _Ground, configs_of: ConfigDesk) -> Farewell:
    return Farewell(
        ground.database,
        ground.changes,
        exports=(configs_of.export, partial(export_tenant, ground.database)),
        erasers=(configs_of.erase, leases.forget, user_data.erase_tenant),
    )


def _quotas(ground: _Ground, limits: TenantLimits, tenant_desk: TenantDesk) -> TenantResourceManager:
    known = ResourceLimits(limits, ground.tail.fold, tenant_desk.find)
    return TenantResourceManager(ground.database, known, RefusalLog(ground.changes), rng=ground.wires.rng)


def _auth(ground: _Ground, sealer: Sealer) -> AuthDesks:
    wires = ground.wires
    parts = AuthParts(
        database=ground.database,
        changes=ground.changes,
        announcer=ground.announcer,
        passwords=ground.passwords,
        sealer=sealer,
        fold=ground.tail.fold,
        store=wires.store,
        clock=wires.clock,
        rng=wires.rng,
    )
    return auth_desks(ground.config.auth, parts)


def _callers(ground: _Ground) -> CallerVerifier:
    config = ground.config
    return callers_of(
        (config.tokens, *config.issuers, config.auth.tokens),
        ground.tail.fold,
        clock=ground.wires.clock,
        lenient=True,
        denials=ground.denials,
        catching_up=CatchingUp(ground.tail),
    )


def _limiter(ground: _Ground, limits: TenantLimits) -> RateLimiter:
    wires = ground.wires
    local = MemoryFastStore(wires.clock)
    return RateLimiter(limits, shared=wires.store, local=local, gateways=ground.config.replicas)


def _metering(wires: Wires) -> UsageMeter:
    return UsageMeter(wires.bus, name="control", clock=wires.clock, rng=wires.rng, meter=wires.meter)


def _denials(wires: Wires) -> DenialLog:
    return DenialLog(
        wires.bus,
        name="control",
        clock=wires.clock,
        monotonic=wires.monotonic,
        rng=wires.rng,
        meter=wires.meter,
    )


def _denial_intake(wires: Wires) -> DenialIntake:
    return DenialIntake(wires.database, wires.bus, meter=wires.meter, clock=wires.clock, rng=wires.rng)


def _user_data(ground: _Ground) -> UserDataDesk:
    wires = ground.wires
    return UserDataDesk(
        database=ground.database,
        changes=ground.changes,
        cache=UserDataCache(wires.store, wires.meter),
        policy=ground.config.retention,
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
