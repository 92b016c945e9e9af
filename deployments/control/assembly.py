"""Puts the desks of the control plane together on connections that somebody else opened and closes.

The same function serves a replica and the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from deployments.control import tenants
from deployments.control.announcer import Announcer, Render
from deployments.control.changes import Changes
from deployments.control.config import ControlConfig
from deployments.control.refusals import Refusals
from deployments.control.services import ControlServices
from deployments.control.tenants import TenantDesk
from deployments.front.limits import RateLimiter
from deployments.front.tenants_tail import TenantsTail
from deployments.front.tokens import TokenVerifier
from messaging.ports import Broadcast, EventBus
from models.metrics import Meter
from models.tenant import Kind
from storage.memory import MemoryFastStore
from storage.ports import FastStore
from storage.postgres.database import Database
from storage.sealing import Sealer

_RENDERS: Final[dict[Kind, Render]] = {Kind.TENANT: tenants.render}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """The services, and what must run as tasks beside them: `announcer.run()` and `tail.run()`."""

    services: ControlServices
    announcer: Announcer
    tail: TenantsTail


def assemble(config: ControlConfig, wires: Wires) -> Assembled:
    """The control plane on these wires; ConfigError for a secret that is missing or weak."""
    tail = TenantsTail(wires.bus, clock=wires.clock, rng=wires.rng)
    announcer = Announcer(wires.database, wires.bus, _RENDERS, rng=wires.rng)
    changes = Changes(wires.database, announcer, wires.clock)
    sealer = Sealer.of(config.sealing_key.resolve())  # noqa: F841 - refused here if it is weak
    limiter = RateLimiter(
        config.tiers, shared=wires.store, local=MemoryFastStore(wires.clock), gateways=config.replicas
    )
    services = ControlServices(
        database=wires.database,
        changes=changes,
        refusals=Refusals(wires.database, wires.clock),
        tenants=TenantDesk(wires.database, changes),
        tokens=TokenVerifier(config.tokens),
        limiter=limiter,
        meter=wires.meter,
        clock=wires.clock,
        monotonic=wires.monotonic,
        rng=wires.rng,
        public_docs=config.public_docs,
        max_body_bytes=config.max_body_bytes,
        body_timeout_s=config.body_timeout_s,
    )
    return Assembled(services=services, announcer=announcer, tail=tail)
