"""What has become of a caller since its token was made holds with the next request, without a new token."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from deployments.front.tokens import mint
from models.access import Permission
from models.errors import TenantSuspended, Unauthenticated
from models.principal import Tier
from models.tenant import Kind, TenantStatus
from tests.unit.front.accounts import UNTIL_NS, Accounts
from tests.unit.gateway.doubles import TOKENS, principal

ENDS: dict[str, Callable[[Accounts], None]] = {
    "session ended": lambda accounts: accounts.end(),
    "user disabled": lambda accounts: accounts.user(enabled=False),
    "tokens of before": lambda accounts: accounts.user(not_before_ns=time.time_ns() + 10**9),
    "tenant deleted": lambda accounts: accounts.tenant(status=TenantStatus.DELETED),
    "tenant unknown": lambda accounts: accounts.tell(None, Kind.TENANT, "acme"),
    "key gone": lambda accounts: accounts.tell(None, Kind.SIGNING_KEY, "k1"),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_what_ends_a_caller_ends_it_at_once(end: Callable[[Accounts], None]) -> None:
    """Also one that was verified a moment ago; in the words for a forged token."""
    accounts = Accounts()
    callers, token = accounts.callers(), accounts.token()
    assert (await callers.verify(token)).user_id == "alice"
    end(accounts)
    with pytest.raises(Unauthenticated) as ended:
        await callers.verify(token)
    with pytest.raises(Unauthenticated) as forged:
        await callers.verify(token[:-4] + "AAAA")

    assert ended.value.message == forged.value.message


async def test_a_suspension_is_told_and_can_be_lifted() -> None:
    """403 with a code of its own, for tokens and keys of every kind."""
    accounts = Accounts()
    callers = accounts.callers()
    local = mint(principal(), TOKENS, now_s=int(time.time()), ttl_s=60)
    bearers = [accounts.token(), accounts.api_key(), local]
    accounts.tenant(status=TenantStatus.SUSPENDED)
    for bearer in bearers:
        with pytest.raises(TenantSuspended):
            await callers.verify(bearer)
    accounts.tenant()

    assert [(await callers.verify(bearer)).user_id for bearer in bearers] == ["alice"] * 3


async def test_an_upgrade_needs_no_new_token() -> None:
    """Tier and entitlement are those of the tenant as it is now, whatever the token says."""
    accounts = Accounts()
    callers, token = accounts.callers(), accounts.token(tier=Tier.FREE)
    accounts.tenant(tier=Tier.ENTERPRISE, entitled_until_ns=UNTIL_NS + 5)
    now = await callers.verify(token)

    assert (now.tier, now.entitled_until_ns) == (Tier.ENTERPRISE, UNTIL_NS + 5)


async def test_roles_that_were_taken_away_stop_counting() -> None:
    """Of a token that the hub issued; those of another issuer are that issuer's to say."""
    accounts = Accounts()
    callers, token = accounts.callers(), accounts.token(roles=("tenant:owner",))
    local = mint(principal(roles=("tenant:owner",)), TOKENS, now_s=int(time.time()), ttl_s=60)
    assert (await callers.verify(token)).may(Permission.USERS_WRITE)
    accounts.user(roles=("tenant:viewer",))

    assert (await callers.verify(token)).roles == {"tenant:viewer"}
    assert (await callers.verify(local)).roles == {"tenant:owner"}


async def test_a_token_of_after_the_moment_counts() -> None:
    """To the microsecond: a new login in the same second is not refused."""
    accounts = Accounts()
    accounts.user(not_before_ns=time.time_ns(), roles=("tenant:trader",))

    assert (await accounts.callers().verify(accounts.token())).user_id == "alice"


async def test_the_same_user_of_another_tenant_is_not_touched() -> None:
    """Users are known by tenant and id."""
    accounts = Accounts()
    accounts.tenant("rival")
    accounts.user(enabled=False)

    assert (await accounts.callers().verify(accounts.token(tenant="rival"))).tenant_id == "rival"


async def test_the_control_plane_lets_young_tenants_pass_but_no_suspended_one() -> None:
    """Its own copy may be younger than the tenant; a suspension it knows holds."""
    accounts = Accounts()
    callers, token = accounts.callers(lenient=True), accounts.token(tenant="young")

    assert (await callers.verify(token)).tenant_id == "young"
    accounts.tenant("young", status=TenantStatus.SUSPENDED)
    with pytest.raises(TenantSuspended):
        await callers.verify(token)
