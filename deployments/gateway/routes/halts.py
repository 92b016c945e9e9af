"""The kill switch: stop and resume the signals of a user, a tenant, a model, a strategy, or all.

Admins work all of them. A user may halt itself, and resume what it halted itself.
"""

# ruff: noqa: FAST003 - `Targeted` takes the path parameters

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from deployments.front.permits import HasSignals
from deployments.gateway.services import Hub, Services
from models.access import Permission
from models.base import Frozen
from models.errors import BadValue, Forbidden, NotFound, UnknownStrategy
from models.halt import EVERYTHING, Halt, HaltScope
from models.ids import checked_user_id
from models.principal import Principal

router = APIRouter(prefix="/api/v1/halts", tags=["halts"])

Scope = Annotated[HaltScope, Path(description="What is halted")]
Halted = Annotated[
    str,
    Path(
        min_length=1,
        max_length=128,
        description="A user, a tenant, `model@version` or `strategy@version`; `*` for scope `all`",
    ),
]


class Target(NamedTuple):
    """What a request is about."""

    scope: HaltScope
    id: str


def target_in_path(scope: Scope, halted: Halted) -> Target:
    """From the path."""
    return Target(scope, halted)


Targeted = Annotated[Target, Depends(target_in_path)]


class HaltRequest(Frozen):
    """Why; those who are halted read it in their signals."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class HaltList(Frozen):
    """Halts in force, by scope and id."""

    halts: tuple[Halt, ...]


@router.get("")
async def halts(hub: Hub, caller: HasSignals) -> HaltList:
    """Halts in force: all for an admin, for others those that stop their own signals."""
    await hub.halts.in_force()
    return HaltList(halts=hub.halts.concerning(caller))


@router.put("/{scope}/{halted}")
async def halt(target: Targeted, asked: HaltRequest, hub: Hub, caller: HasSignals) -> Halt:
    """Halt. When this answers, no signal made a tenth of a second later asks for anything."""
    _check_may(caller, target)
    _check_exists(hub, *target)
    wanted = Halt(**target._asdict(), reason=asked.reason, by=caller.user_id, at_ns=hub.clock())
    standing = await hub.halts.find(*target)
    if standing and standing.by != caller.user_id and not caller.may(Permission.HALTS_WRITE):
        return standing.model_copy(update={"by": "an operator"})
    await hub.halts.put(wanted)
    return wanted


@router.delete("/{scope}/{halted}", status_code=204)
async def resume(target: Targeted, hub: Hub, caller: HasSignals) -> Response:
    """Resume: signals follow from the next due slot on."""
    _check_may(caller, target)
    standing = await hub.halts.find(*target)
    if standing is None:
        raise NotFound("there is no such halt")
    if standing.by != caller.user_id and not caller.may(Permission.HALTS_WRITE):
        raise Forbidden("an operator has halted you; only an operator can resume")
    await hub.halts.lift(standing, by=caller.user_id)
    return Response(status_code=204)


def _check_may(caller: Principal, target: Target) -> None:
    if not caller.may(Permission.HALTS_WRITE) and target != (HaltScope.USER, caller.user_id):
        raise Forbidden("this needs the permission `halts:write`; without it you may halt yourself only")


def _check_exists(hub: Services, scope: HaltScope, halted: str) -> None:
    """A kill switch with a typing error in its id would stop nothing, so what can be checked is."""
    if (scope is HaltScope.ALL) != (halted == EVERYTHING):
        raise BadValue(
            f"scope `all` has the id `{EVERYTHING}`, any other names whom it halts", field="halted"
        )
    if scope is HaltScope.USER:
        checked_user_id(halted)
    if scope is HaltScope.STRATEGY and halted not in hub.strategies:
        raise UnknownStrategy(f"there is no such strategy; known: {_listed(hub.strategies)}", field="halted")
    models = {f"{card.name}@{card.version}" for card in hub.router.catalogue.cards}
    if scope is HaltScope.MODEL and halted not in models:
        raise BadValue(f"there is no such model; known: {_listed(models)}", field="halted")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
