"""Who gets into a room and how often, put together: with tenants where there is a control plane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Annotated, Final

from pydantic import Field

from deployments.front.callers import CallerVerifier, callers_of
from deployments.front.catching_up import CatchingUp
from deployments.front.denials import DenialLog
from deployments.front.limits import LimitsView, Tiers
from deployments.front.tenant_config.limits import TenantLimits
from deployments.front.tenant_config.view import TenantConfigView
from deployments.front.tenants_tail import TenantsTail
from deployments.front.tokens import AnyTokens, HubTokens, IssuedTokens
from messaging.ports import EventBus
from models.base import Frozen
from models.errors import BrokerUnavailable

_READ_S: Final = 20.0


class TenancyConfig(Frozen):
    """A hub with tenants: whose tokens count beside the first issuer's, and the layer of the environment."""

    issuers: tuple[HubTokens | IssuedTokens, ...] = (HubTokens(),)
    environment: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")] = "production"


class AccessConfig(Frozen):
    """Tokens of the first issuer, and the tiers; without `tenancy` there is no more to know of a caller."""

    tokens: AnyTokens = Field(discriminator="kind")
    tiers: Tiers
    tenancy: TenancyConfig | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """Says whose a token is and what holds for the tenant. `tail` and `view` are there with tenants alone."""

    callers: CallerVerifier
    limits: LimitsView
    tail: TenantsTail | None = None
    view: TenantConfigView | None = None


async def open_access(
    config: AccessConfig,
    bus: EventBus,
    stack: AsyncExitStack,
    *,
    denials: DenialLog,
    clock: Callable[[], int],
    rng: Random,
) -> Access:
    """Ready once all tenants are known; the task that follows them ends with the stack.

    Raises:
        ConfigError: a secret is weak, or two issuers have one name.
        BrokerUnavailable: the tenants could not be read; nobody would be let in.
    """
    if config.tenancy is None:
        return Access(callers_of([config.tokens], None), config.tiers)
    tail = TenantsTail(bus, clock=clock, rng=rng)
    issuers = [config.tokens, *config.tenancy.issuers]
    callers = callers_of(issuers, tail.fold, denials=denials, catching_up=CatchingUp(tail))
    stack.push_async_callback(_end, asyncio.create_task(tail.run()))
    await _complete(tail)
    view = TenantConfigView(tail.fold, tiers=config.tiers, environment=config.tenancy.environment)
    return Access(callers, TenantLimits(view), tail, view)


async def _complete(tail: TenantsTail) -> None:
    try:
        async with asyncio.timeout(_READ_S):
            await tail.complete.wait()
    except TimeoutError:
        raise BrokerUnavailable(f"hub.tenants was not read within {_READ_S:g} s") from None


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
