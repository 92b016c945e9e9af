"""Denials of the data plane in the audit logs: each once, through repeats, kills and other replicas."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from deployments.control.audit.denials import DenialIntake
from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.topics import DENIALS, create_topics
from models.audit import AuditRecord, Denial, DenialReport, Outcome
from models.metrics import MemoryMeter
from storage.postgres import audit
from storage.postgres.audit import Wanted
from storage.postgres.database import Database
from tests.support.control import ControlHub, new_tenant
from tests.support.eventually import eventually


def report(sequence: int, *users: str, tenant: str = "acme", source: str = "gateway-1-ab") -> Record:
    """A report as the data plane writes it."""
    denials = [
        Denial(user_id=one, action="access.infer", object="POST /api/v1/infer", at_ns=sequence, times=3)
        for one in users
    ]
    said = DenialReport(source=source, sequence=sequence, tenant_id=tenant, denials=tuple(denials))
    return Record(tenant.encode(), said.model_dump_json(by_alias=True).encode())


class Stage:
    """A log, and control planes that read it into one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.bus = MemoryBus(MemoryLog(random.Random(1)), "control")
        self.meter = MemoryMeter()

    async def write(self, *records: Record) -> None:
        if DENIALS.name not in await self.bus.topics():
            await create_topics(self.bus, 1, [DENIALS])
        producer = await self.bus.producer("test")
        for record in records:
            await producer.append(DENIALS.name, 0, [record], timeout_s=5.0)
        await producer.close()

    def intake(self) -> DenialIntake:
        return DenialIntake(
            self.database, self.bus, meter=self.meter, clock=lambda: 10**18, rng=random.Random(4)
        )

    async def taken(self, intake: DenialIntake | None = None) -> None:
        """Everything from where the position stands."""
        intake = intake or self.intake()
        start, (_, end) = await intake.resume(), await self.bus.bounds(DENIALS.name, 0)
        if records := [one async for batch in self.bus.read(DENIALS.name, 0, start, end) for one in batch]:
            await intake.take(records)

    async def entries(self, tenant: str = "acme") -> Sequence[AuditRecord]:
        async with self.database.tenant(tenant) as connection:
            return await audit.page(connection, tenant, Wanted(), after=0, most=100)


async def test_each_denial_is_one_entry_of_its_tenant(database: Database) -> None:
    """With who, what, how often and through which process; other tenants have none of it."""
    stage = Stage(database)
    await stage.write(report(1, "ann", "bob"), report(2, "eve", tenant="rival"))
    await stage.taken()
    ann, bob = await stage.entries()

    assert (ann.actor, ann.action, ann.object) == ("ann", "access.infer", "POST /api/v1/infer")
    assert (ann.outcome, ann.at_ns) == (Outcome.DENIED, 1)
    assert ann.details == {"times": 3, "by": "gateway-1"}
    assert (bob.actor, bob.sequence) == ("bob", 2)
    assert [one.actor for one in await stage.entries("rival")] == ["eve"]


async def test_a_report_that_comes_again_is_written_once(database: Database) -> None:
    """In one batch, after a restart, from a topic that is read anew; others have numbers of their own."""
    stage = Stage(database)
    first, second = report(1, "ann"), report(2, "bob")
    await stage.write(first, first, second, first, report(1, "eve", source="stream-1-cd"))
    await stage.taken()
    await stage.write(second)
    await stage.taken()
    records = [one async for batch in stage.bus.read(DENIALS.name, 0, 0, 6) for one in batch]
    await stage.intake().take(records)

    assert [one.actor for one in await stage.entries()] == ["ann", "bob", "eve"]


@pytest.mark.parametrize(
    "bad",
    [
        Record(b"acme", b"no report"),
        Record(b"acme", None),
        Record(b"rival", report(9, "eve").value),
        Record(b"acme", report(9, "eve").value.replace(b"acme", b"ac\\u0000")),  # type: ignore[union-attr]
        Record(b"acme", report(9, "eve").value.replace(b'"times":3', b'"times":0')),  # type: ignore[union-attr]
    ],
)
async def test_what_is_no_report_holds_up_nothing(database: Database, bad: Record) -> None:
    """Nonsense, a foreign name, characters that no database keeps: counted, passed over."""
    stage = Stage(database)
    await stage.write(bad, report(1, "ann"))
    await stage.taken()

    assert [one.actor for one in await stage.entries()] == ["ann"]
    assert stage.meter.values == {
        ("hub_denials_total", (("outcome", outcome),)): 1 for outcome in ("unreadable", "written")
    }


async def test_two_replicas_write_each_once(database: Database) -> None:
    """Both read all of it at the same time."""
    stage = Stage(database)
    await stage.write(*(report(number, f"u{number}") for number in range(1, 31)))
    await asyncio.gather(*(stage.taken() for _ in range(3)))

    assert sorted(one.actor for one in await stage.entries()) == sorted(f"u{n}" for n in range(1, 31))


async def test_a_kill_at_any_moment_loses_none_and_doubles_none(database: Database) -> None:
    """Cancelled after every other await, and begun anew."""
    stage, rng = Stage(database), random.Random(6)
    await stage.write(*(report(number, f"u{number}") for number in range(1, 21)))
    for _ in range(15):
        task = asyncio.create_task(stage.taken())
        await asyncio.wait([task], timeout=rng.uniform(0.001, 0.03))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await stage.taken()

    assert [one.actor for one in await stage.entries()] == [f"u{n}" for n in range(1, 21)]


async def test_what_a_route_refuses_by_itself_is_on_the_record_once(control: ControlHub) -> None:
    """An owner that gives itself another tier, and a viewer that the guard of the route stops."""
    root = control.auth()
    await control.client.post("/tenants", json=new_tenant(), headers=root)
    own = control.auth("ann", tenant="acme", roles=("tenant:owner",))
    low = control.auth("vic", tenant="acme", roles=("tenant:viewer",))
    for headers in (own, low):
        answer = await control.client.patch("/tenants/acme", json={"tier": "enterprise"}, headers=headers)
        assert answer.status_code == 403

    async def written() -> bool:
        answer = await control.client.get("/tenants/acme/audit?outcome=denied", headers=root)
        found = [(one["actor"], one["action"]) for one in answer.json()["entries"]]
        return sorted(found) == [("ann", "access.tenant:write"), ("vic", "access.tenant:write")]

    await eventually(written)


async def test_a_suspended_tenant_is_denied_on_the_record(control: ControlHub) -> None:
    """From the refused call to the audit of the tenant, which still verifies."""
    root = control.auth()
    await control.client.post("/tenants", json=new_tenant(), headers=root)
    own = control.auth("ann", tenant="acme", roles=("tenant:owner",))
    await control.client.put("/tenants/acme/suspension", json={"reason": "unpaid"}, headers=root)

    async def refused() -> bool:
        return (await control.client.get("/tenants/acme", headers=own)).status_code == 403

    await eventually(refused)

    async def written() -> bool:
        answer = await control.client.get("/tenants/acme/audit?outcome=denied", headers=root)
        return [one["action"] for one in answer.json()["entries"]] == ["access.tenant_suspended"]

    await eventually(written)
    assert (await control.client.get("/tenants/acme/audit/verify", headers=root)).json()["faults"] == 0
