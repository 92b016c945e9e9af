"""Denials on their way to the audit: the first at once, the rest together, none lost and no log filled."""

from __future__ import annotations

import random
import time

import pytest

from deployments.front import denials, reports
from deployments.front.denials import AGAIN_S, DenialLog
from messaging.memory import MemoryBus, MemoryLog
from messaging.topics import DENIALS, create_topics
from models.audit import Denial, DenialReport
from models.errors import TenantSuspended, Unauthenticated
from models.metrics import MemoryMeter
from models.tenant import TenantStatus
from tests.unit.front.accounts import Accounts
from tests.unit.gateway.doubles import principal


class Stage:
    """A log of denials, and a clock that stands still."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.log = MemoryLog(random.Random(1), clock=lambda: int(self.now_s * 1e9))
        self.bus = MemoryBus(self.log, "gateway")
        self.denials = DenialLog(
            self.bus,
            name="gateway",
            clock=lambda: int(self.now_s * 1e9),
            monotonic=lambda: self.now_s,
            rng=random.Random(2),
            meter=MemoryMeter(),
        )

    @classmethod
    async def made(cls) -> Stage:
        stage = cls()
        await create_topics(stage.bus, 1, [DENIALS])
        return stage

    def deny(self, user: str = "ann", tenant: str = "acme", *, times: int = 1, what: str = "x") -> None:
        for _ in range(times):
            self.denials.note(principal(user, tenant), "access.infer", what)

    async def after(self, seconds: float) -> None:
        self.now_s += seconds
        await self.denials.flush()

    @property
    def reported(self) -> list[DenialReport]:
        """Each report once."""
        records = self.log.partition(DENIALS.name, 0).records
        found = [DenialReport.from_record(one.value or b"") for one in records]
        return list({(one.source, one.sequence): one for one in found}.values())

    @property
    def said(self) -> list[Denial]:
        return [denial for report in self.reported for denial in report.denials]


async def test_the_first_is_reported_at_once_and_the_rest_once_a_minute() -> None:
    """A client that tries ten times a second for ten minutes makes eleven lines, and none is missing."""
    stage = await Stage.made()
    for _ in range(300):
        stage.deny(times=20)
        await stage.after(2)
    await stage.denials.flush(last=True)

    assert sum(one.times for one in stage.said) == 6000
    assert len(stage.said) == 11


async def test_tenants_are_told_apart() -> None:
    """One report each, under its own name."""
    stage = await Stage.made()
    stage.deny("ann", "acme")
    stage.deny("ann", "rival", times=2)
    await stage.after(2)

    assert [(one.tenant_id, one.denials[0].times) for one in stage.reported] == [("acme", 1), ("rival", 2)]


async def test_memory_is_bounded_and_the_sum_stays_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound of a tenant user and object are left out; the next tenant has its own."""
    monkeypatch.setattr(denials, "MOST_KEYS", 10)
    stage = await Stage.made()
    for number in range(50):
        stage.deny(what=f"GET /{number}")
    stage.deny("bob", "rival")
    await stage.after(2)

    acme, rival = stage.reported
    assert sum(one.times for one in acme.denials) == 50
    assert [one.times for one in acme.denials if not one.user_id] == [40]
    assert rival.denials[0].user_id == "bob"


@pytest.mark.parametrize("what", ["GET /\ud800", "GET /\x00", "GET /" + "\N{SNOWMAN}" * 5000, ""])
async def test_whatever_was_asked_for_can_be_reported(what: str) -> None:
    """Half characters, NUL, endless paths: one that could not be would end the process that reports."""
    stage = await Stage.made()
    stage.deny(what=what)
    await stage.after(2)

    assert [one.times for one in stage.said] == [1]


async def test_what_ended_is_forgotten() -> None:
    """A minute without another, and its place is free."""
    stage = await Stage.made()
    stage.deny()
    await stage.after(2)
    await stage.after(AGAIN_S)

    assert (stage.denials._noted, len(stage.said)) == ({}, 1)


@pytest.mark.parametrize("fault", ["refuse", "lose", "lose_ack", "repeat"])
async def test_no_fault_of_the_broker_loses_one(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is sent again under its own number until it is acknowledged."""
    monkeypatch.setattr(reports, "_APPEND_S", 0.01)
    stage, rng = await Stage.made(), random.Random(3)
    for _ in range(30):
        stage.deny(times=7)
        setattr(stage.log.faults, fault, 0.5 * rng.random())
        await stage.after(AGAIN_S)
    setattr(stage.log.faults, fault, 0.0)
    while not await stage.denials.flush(last=True):
        pass
    await stage.denials.flush(last=True)

    assert sum(one.times for one in stage.said) == 210


async def test_who_was_let_in_once_and_is_not_any_more_is_noted() -> None:
    """An ended session, a disabled user, a suspended tenant; a forged token is nobody's."""
    stage, accounts = await Stage.made(), Accounts()
    callers = accounts.callers(denials=stage.denials)
    token = accounts.token()
    assert (await callers.verify(token)).user_id == "alice"
    with pytest.raises(Unauthenticated):
        await callers.verify(token[:-4] + "AAAA")
    accounts.tenant(status=TenantStatus.SUSPENDED)
    with pytest.raises(TenantSuspended):
        await callers.verify(token)
    accounts.tenant()
    accounts.end()
    with pytest.raises(Unauthenticated):
        await callers.verify(token)
    bob = principal(accounts.disabled("bob"), now_ns=time.time_ns())
    with pytest.raises(Unauthenticated):
        await callers.verify(accounts.token(bob.model_copy(update={"session_id": "b" * 32})))
    await stage.after(2)

    assert sorted((one.user_id, one.action) for one in stage.said) == [
        ("alice", "access.session_ended"),
        ("alice", "access.tenant_suspended"),
        ("bob", "access.user_disabled"),
    ]
