"""Leases against a brute-force oracle: whatever is asked in whatever order, the database answers the same."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from models.errors import Conflict, NotFound, QuotaExceeded
from models.resources import LeaseRef, Resource
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from tests.support.leases import CALLS, MODELS, Desk, add_tenants, desk

S = 1_000_000_000
NUMBERS = itertools.count(1)
IDS = st.sampled_from(["a", "b", "c", "d"])
AMOUNTS = st.dictionaries(st.sampled_from([CALLS, MODELS]), st.integers(1, 6), min_size=1)
TTLS = st.integers(1, 20)


@dataclass
class Oracle:
    """Every lease there is, looked through from one end to the other at every question."""

    limits: dict[Resource, int]
    now_ns: int = 1_000 * S
    leases: dict[str, tuple[dict[Resource, int], int]] = field(default_factory=dict)

    def in_use(self, resource: Resource) -> int:
        """The sum over all that have not expired."""
        return sum(amounts.get(resource, 0) for amounts, ends in self.leases.values() if ends > self.now_ns)

    def live(self, lease_id: str) -> bool:
        """Whether it is held."""
        return lease_id in self.leases and self.leases[lease_id][1] > self.now_ns

    def allocate(self, lease_id: str, amounts: dict[Resource, int], ttl_s: int) -> Any:
        """Its end, or the error and when to come back."""
        if self.live(lease_id):
            held, ends = self.leases[lease_id]
            return ends if held == amounts else Conflict
        for resource in sorted(amounts):
            if self.in_use(resource) + amounts[resource] > self.limits[resource]:
                return QuotaExceeded, resource, self.wait_s(resource, amounts[resource])
        self.leases[lease_id] = amounts, self.now_ns + ttl_s * S
        return self.leases[lease_id][1]

    def wait_s(self, resource: Resource, amount: int) -> float | None:
        """The first end of a lease after which the amount would fit."""
        moments = sorted({ends for _, ends in self.leases.values() if ends > self.now_ns})
        for moment in moments:
            left = sum(held.get(resource, 0) for held, ends in self.leases.values() if ends > moment)
            if left + amount <= self.limits[resource]:
                return (moment - self.now_ns) / S
        return None

    def renew(self, lease_id: str, ttl_s: int) -> Any:
        """Its end, or the error."""
        if not self.live(lease_id):
            return NotFound
        held, _ = self.leases[lease_id]
        if any(not self.limits[resource] for resource in held):
            return QuotaExceeded
        self.leases[lease_id] = held, self.now_ns + ttl_s * S
        return self.leases[lease_id][1]

    def release(self, lease_id: str) -> bool:
        """Whether there was anything."""
        was = self.live(lease_id)
        self.leases.pop(lease_id, None)
        return was


class Leases(RuleBasedStateMachine):
    """The manager on one side, the oracle on the other, a tenant of its own for every run."""

    config: PostgresConfig

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.tenant = f"model-{next(NUMBERS)}"
        self.oracle = Oracle({**dict.fromkeys(Resource, 100), CALLS: 8, MODELS: 5})
        self.desk: Desk = self.runner.run(self.opened())

    async def opened(self) -> Desk:
        """The manager, by the oracle's clock."""
        database = Database(self.config)
        self.stack.push_async_callback(database.close)
        await add_tenants(database, self.tenant)
        return await self.stack.enter_async_context(
            desk(database, limits=self.oracle.limits, clock=lambda: self.oracle.now_ns)
        )

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    async def _allocate(self, lease_id: str, amounts: dict[Resource, int], ttl_s: int) -> Any:
        try:
            lease = await self.desk.manager.allocate_resource(
                self.tenant, amounts, holder="alice", ttl_s=ttl_s, lease_id=lease_id
            )
        except QuotaExceeded as error:
            return QuotaExceeded, error.details["resource"], error.retry_after_s
        except Conflict:
            return Conflict
        return lease.expires_ns

    @rule(lease_id=IDS, amounts=AMOUNTS, ttl_s=TTLS)
    def allocate(self, lease_id: str, amounts: dict[Resource, int], ttl_s: int) -> None:
        answer = self.runner.run(self._allocate(lease_id, amounts, ttl_s))
        assert answer == self.oracle.allocate(lease_id, amounts, ttl_s)

    @rule(wanted=st.dictionaries(IDS, st.tuples(AMOUNTS, TTLS), min_size=2))
    def allocate_at_once(self, wanted: dict[str, tuple[dict[Resource, int], int]]) -> None:
        async def all_of_them() -> list[Any]:
            return await asyncio.gather(*(self._allocate(name, *asked) for name, asked in wanted.items()))

        verdicts = self.runner.run(all_of_them())
        expected = [self.oracle.allocate(name, *asked) for name, asked in wanted.items()]
        for answer, right in zip(verdicts, expected, strict=True):
            # when to come back also depends on leases that were granted later in the same batch
            assert answer[:2] == right[:2] if isinstance(right, tuple) else answer == right

    @rule(lease_id=IDS, ttl_s=TTLS)
    def renew(self, lease_id: str, ttl_s: int) -> None:
        ref = LeaseRef(self.tenant, lease_id)
        expected = self.oracle.renew(lease_id, ttl_s)
        try:
            answer: Any = self.runner.run(self.desk.manager.renew_lease(ref, ttl_s=ttl_s)).expires_ns
        except (NotFound, QuotaExceeded) as error:
            answer = type(error)
        assert answer == expected

    @rule(lease_id=IDS)
    def release(self, lease_id: str) -> None:
        ref = LeaseRef(self.tenant, lease_id)
        assert self.runner.run(self.desk.manager.release_resource(ref)) == self.oracle.release(lease_id)

    @rule(ns=st.integers(1, 30 * S))
    def time_passes(self, ns: int) -> None:
        self.oracle.now_ns += ns

    @precondition(lambda self: bool(self.oracle.leases))
    @rule(data=st.data())
    def time_passes_to_the_end_of_a_lease(self, data: st.DataObject) -> None:
        ends = data.draw(st.sampled_from(sorted(ends for _, ends in self.oracle.leases.values())))
        self.oracle.now_ns = max(self.oracle.now_ns, ends - data.draw(st.integers(0, 1)))

    @rule(resource=st.sampled_from([CALLS, MODELS]), limit=st.integers(0, 12))
    def the_limit_changes(self, resource: Resource, limit: int) -> None:
        self.oracle.limits[resource] = self.desk.limits[resource] = limit

    @invariant()
    def holds_the_same(self) -> None:
        standings = self.runner.run(self.desk.manager.standings(self.tenant))
        assert {one.resource: one.in_use for one in standings} == {
            resource: self.oracle.in_use(resource) for resource in Resource
        }


def test_leases_are_as_the_oracle_says(postgres_config: PostgresConfig) -> None:
    """Requests alone and at once, repeats, renewals, releases, time to the nanosecond, limits up and down."""

    class OnDatabase(Leases):
        config = postgres_config

    run_state_machine_as_test(
        OnDatabase, settings=settings(max_examples=40, stateful_step_count=30, deadline=None, database=None)
    )
