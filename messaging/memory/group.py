"""A consumer group of the memory bus: sessions, rebalances, sticky assignment, the lie of two owners."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from typing import Protocol

from messaging.memory.process import Process


class Coordinator(Protocol):
    """What a group needs of its broker."""

    rng: Random
    session_s: float
    heartbeat_s: float

    def reachable(self, process: Process) -> bool: ...


class Member:
    """A process in a group, as the coordinator sees it; `fresh` is set when an assignment has arrived."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.assigned: frozenset[int] = frozenset()
        self.fresh = asyncio.Event()
        self.generation = -1
        self.silent_s = 0.0
        self.expected = True


class Group:
    """One task per group plays the coordinator while the group has members: it counts missed heartbeats,
    evicts, waits for stragglers (as Kafka does, up to the session) and hands out assignments. A member that
    comes back after its eviction joins again by itself.
    """

    def __init__(self, broker: Coordinator, *, partitions: int) -> None:
        self.generation = 0
        self._broker = broker
        self._partitions = partitions
        self._members: list[Member] = []
        self._owners: dict[int, Member] = {}
        self._shared: set[int] = set()
        self._stale = False
        self._task: asyncio.Task[None] | None = None

    def share(self, partition: int) -> None:
        """From the next rebalance, which starts now, tell a second member too that it owns the partition."""
        self._shared.add(partition)
        self.rebalance()

    def rebalance(self) -> None:
        """Start a rebalance; without cause too, as Kafka may at any time."""
        self._stale = True

    def join(self, process: Process) -> Member:
        member = Member(process)
        self._members.append(member)
        self.rebalance()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._coordinate())
        return member

    def leave(self, member: Member) -> None:
        if member in self._members:
            self._members.remove(member)
            self.rebalance()

    def confirms(self, member: Member, partition: int) -> bool:
        """What a commit of this member for the partition would say: True iff it is of this generation."""
        current = member.expected and member in self._members and member.generation == self.generation
        return current and partition in member.assigned

    async def _coordinate(self) -> None:
        while self._members:
            await self._beat()
            expected = [member for member in self._members if member.expected]
            if self._stale and all(self._broker.reachable(member.process) for member in expected):
                self._assign(expected)

    async def _beat(self) -> None:
        """Wait until the members have been heard again; a lone newcomer waits for nobody."""
        alone = len(self._members) == 1 and self._stale and self._broker.reachable(self._members[0].process)
        wait_s = 0.0 if alone else self._broker.heartbeat_s * (0.5 + self._broker.rng.random() / 2)
        await asyncio.sleep(wait_s)
        for member in self._members:
            self._watch(member, wait_s)

    def _watch(self, member: Member, passed_s: float) -> None:
        if self._broker.reachable(member.process):
            member.silent_s = 0.0
            returned = not member.expected
            member.expected = True
        else:
            member.silent_s += passed_s
            returned = False
        evicted = member.expected and member.silent_s >= self._broker.session_s
        if evicted:
            member.expected = False
        if evicted or returned:
            self.rebalance()

    def _assign(self, members: Sequence[Member]) -> None:
        self._stale = False
        self.generation += 1
        self._owners = _sticky(members, self._owners, self._partitions)
        for member in members:
            own = {p for p, owner in self._owners.items() if owner is member}
            member.assigned = frozenset(own | self._doubled(members, member))
            member.generation = self.generation
            member.fresh.set()

    def _doubled(self, members: Sequence[Member], member: Member) -> set[int]:
        """Shared partitions whose owner stands just before this member."""
        before = members[members.index(member) - 1]
        return {p for p in self._shared if self._owners.get(p) is before}


def _sticky(members: Sequence[Member], before: Mapping[int, Member], partitions: int) -> dict[int, Member]:
    """An even assignment that moves as few partitions as it can."""
    if not members:
        return {}
    most = -(-partitions // len(members))
    counts = dict.fromkeys(members, 0)
    owners: dict[int, Member] = {}
    for partition, owner in before.items():
        if owner in counts and counts[owner] < most:
            owners[partition] = owner
            counts[owner] += 1
    for partition in range(partitions):
        if partition not in owners:
            least = min(members, key=lambda member: counts[member])
            owners[partition] = least
            counts[least] += 1
    return owners
