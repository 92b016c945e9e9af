"""The caller's own subscriptions and risk settings. Whose they are, and their tier, come from the token."""

# ruff: noqa: FAST003 - `Addressed` takes the path parameters

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from deployments.front.permits import HasSignals, Subscribes
from deployments.front.subscriptions import Address
from deployments.gateway.services import Hub, Services
from models.base import Frozen
from models.errors import Forbidden, NotFound, UnknownStrategy, UnknownSymbol
from models.principal import Principal
from models.subscription import RiskSettings, Subscription

router = APIRouter(prefix="/api/v1/subscriptions", tags=["signals"])

Account = Annotated[
    str,
    Query(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$",
        description="The trading account, for a user who has several",
    ),
]


def address_in_path(strategy: str, symbol: str, account: Account = "default") -> Address:
    """Which of the caller's subscriptions a request is about."""
    return Address(account, strategy, symbol)


Addressed = Annotated[Address, Depends(address_in_path)]


class SubscriptionSettings(Frozen):
    """What a user may set. Without a body the defaults hold."""

    risk: RiskSettings = RiskSettings()


class SubscriptionList(Frozen):
    """The caller's subscriptions by account, strategy and symbol."""

    subscriptions: tuple[Subscription, ...]


@router.get("")
async def subscriptions(hub: Hub, caller: HasSignals) -> SubscriptionList:
    """All subscriptions of the caller."""
    return SubscriptionList(subscriptions=tuple(await hub.subscribed.of(caller)))


@router.get("/{strategy}/{symbol}")
async def subscription(address: Addressed, hub: Hub, caller: HasSignals) -> Subscription:
    """One subscription of the caller."""
    return await _own(hub, caller, address)


@router.put("/{strategy}/{symbol}")
async def subscribe(
    address: Addressed, hub: Hub, caller: Subscribes, settings: SubscriptionSettings | None = None
) -> Subscription:
    """Subscribe, or change the risk settings; signals follow from the next due slot on."""
    _check_offer(hub, address)
    _check_entitled(hub, caller)
    await hub.subscribed.check_user_id(caller)
    wanted = Subscription(
        user_id=caller.user_id,
        tenant_id=caller.tenant_id,
        account_id=address.account_id,
        strategy=address.strategy,
        symbol=address.symbol,
        tier=caller.tier,
        entitled_until_ns=caller.entitled_until_ns,
        risk=(settings or SubscriptionSettings()).risk,
    )
    await hub.subscriptions.put(wanted)
    return wanted


@router.delete("/{strategy}/{symbol}", status_code=204)
async def unsubscribe(address: Addressed, hub: Hub, caller: Subscribes) -> Response:
    """End a subscription of the caller."""
    await _own(hub, caller, address)
    await hub.subscriptions.delete(caller.user_id, address)
    return Response(status_code=204)


async def _own(hub: Services, caller: Principal, address: Address) -> Subscription:
    found = await hub.subscribed.find(caller, address)
    if found is None:
        raise NotFound("you have no such subscription")
    return found


def _check_offer(hub: Services, address: Address) -> None:
    if address.strategy not in hub.strategies:
        known = ", ".join(sorted(hub.strategies)) or "none"
        raise UnknownStrategy(f"there is no such strategy; known ones: {known}", field="strategy")
    symbols = hub.strategies[address.strategy].symbols
    if address.symbol not in symbols:
        raise UnknownSymbol(
            f"{address.strategy} does not trade this symbol; it does: {', '.join(sorted(symbols))}",
            field="symbol",
        )


def _check_entitled(hub: Services, caller: Principal) -> None:
    if caller.entitled_until_ns <= hub.clock():
        raise Forbidden("your entitlement has ended; renew it, then subscribe")
