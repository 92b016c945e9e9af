"""Who was made a moment ago gets in at once; who is unknown is refused as ever, a moment later."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

import pytest

from deployments.front.callers import CallerVerifier, callers_of
from deployments.front.catching_up import CatchingUp
from deployments.front.tenants_tail import TenantsTail
from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.topics import TENANTS
from models.errors import TenantSuspended, Unauthenticated
from models.principal import Principal
from models.tenant import Kind, TenantsRecord, TenantStatus, tenants_key
from tests.support.eventually import eventually
from tests.unit.front.accounts import HUB, SECRET, Accounts
from tests.unit.gateway.doubles import TOKENS, principal

LONG_S, SHORT_S = 30.0, 0.05
LATE, NOBODY = f"hubk_late_{SECRET}", f"hubk_nobody_{SECRET}"


class Logged(Accounts):
    """Says everything in the log, from where a running copy takes it when the loop lets it."""

    def __init__(self) -> None:
        self.log = MemoryLog(random.Random(1), clock=time.time_ns)
        self.log.add_topic(TENANTS.name, 1, {})
        bus = MemoryBus(self.log, "gateway")
        self.tail = TenantsTail(bus, clock=time.time_ns, rng=random.Random(1))
        super().__init__()
        self.fold = self.tail.fold

    def tell(self, record: TenantsRecord | None, kind: Kind, *ids: str) -> None:
        """The next record of the log; None forgets."""
        value = record.model_dump_json(by_alias=True).encode() if record else None
        self.log.partition(TENANTS.name, 0).land([Record(tenants_key(kind, *ids), value)], 0)

    def patient(self, within_s: float = LONG_S, *, most: int = 64) -> CallerVerifier:
        """Waits for what the copy has not read yet."""
        catching_up = CatchingUp(self.tail, within_s=within_s, most=most)
        return callers_of((TOKENS, HUB), self.fold, catching_up=catching_up)


def of(tenant_id: str) -> Principal:
    """Somebody of this tenant."""
    return principal().model_copy(update={"tenant_id": tenant_id})


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Logged]:
    """A copy that has read what there is: the tenant `acme`, and a key."""
    accounts = Logged()
    task = asyncio.create_task(accounts.tail.run())
    try:
        await accounts.tail.complete.wait()
        yield accounts
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_key_and_a_tenant_of_just_now_count_at_once() -> None:
    """As soon as the copy has read them, and not before."""
    async with running() as accounts:
        callers = accounts.patient()
        key = accounts.api_key()
        by_key = await callers.verify(key)
        accounts.tenant("summit")
        by_token = await callers.verify(accounts.token(of("summit")))

    assert (by_key.tenant_id, by_token.tenant_id) == ("acme", "summit")


async def test_without_patience_they_are_refused() -> None:
    """What the fault would look like: the copy has had no chance to read."""
    async with running() as accounts:
        callers = accounts.callers()
        with pytest.raises(Unauthenticated):
            await callers.verify(accounts.api_key())


async def test_news_of_others_do_not_end_the_wait() -> None:
    """Whatever the log says in between, the caller is asked for again until it is there."""
    async with running() as accounts:
        asked = asyncio.create_task(accounts.patient().verify(LATE))
        for number in range(3):
            accounts.user(f"u-{number}")
        await eventually(lambda: accounts.fold.user("acme", "u-2"))
        assert not asked.done()
        accounts.api_key("late")

        assert (await asked).user_id == "alice"


async def test_what_was_made_wrong_is_told_at_the_end_of_the_wait() -> None:
    """A tenant that turns out to be suspended, a key that turns out to have another secret."""
    async with running() as accounts:
        callers = accounts.patient()
        accounts.tenant("summit", status=TenantStatus.SUSPENDED)
        with pytest.raises(TenantSuspended):
            await callers.verify(accounts.token(of("summit")))
        accounts.api_key("late", secret="another" * 5)
        with pytest.raises(Unauthenticated):
            await callers.verify(LATE)


async def test_the_unknown_are_refused_in_the_words_for_a_forgery() -> None:
    """After the wait, and without one where it is no name at all."""
    async with running() as accounts:
        callers = accounts.patient(SHORT_S)
        said = set[str]()
        for bearer in (NOBODY, accounts.token(of("nobody")), "hubk_", "x.y.z"):
            with pytest.raises(Unauthenticated) as refused:
                await callers.verify(bearer)
            said.add(refused.value.message)

    assert len(said) == 1


async def test_only_so_many_wait() -> None:
    """A flood of names that nobody has is refused at once beyond that; those who wait get in all the same."""
    async with running() as accounts:
        callers = accounts.patient(most=2)
        waiting = [asyncio.create_task(callers.verify(LATE)) for _ in range(2)]
        await asyncio.sleep(0)
        for number in range(100):
            with pytest.raises(Unauthenticated):
                await callers.verify(f"hubk_n{number}_{SECRET}")
        accounts.api_key("late")
        found = await asyncio.gather(*waiting)
        again = await callers.verify(accounts.api_key("later"))

    assert {one.user_id for one in (*found, again)} == {"alice"}


async def test_a_caller_who_gives_up_makes_room() -> None:
    """Cancelled while it waits, its place is free again."""
    async with running() as accounts:
        callers = accounts.patient(most=1)
        asked = asyncio.create_task(callers.verify(NOBODY))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

        assert (await callers.verify(accounts.api_key())).user_id == "alice"
