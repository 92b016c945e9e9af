"""Who goes next of those that wait in one class: tenants in turn, and the earliest deadline first.

A tenant is passed over while it is `lead` turns ahead of the tenant that had fewest; among the others the
earliest deadline goes first. So one tenant, however much it asks for, delays no other by more than that, and
while all keep pace the order is that of the deadlines alone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

Place = tuple[int, int]
"""Deadline (wall nanoseconds) and number in order of arrival, which makes it unique."""

FORMER_KEPT: Final = 4096
"""Tenants that no longer wait, and whose turns are remembered all the same."""


class FairQueue:
    """The requests of one class, each known by its tenant and place."""

    def __init__(self, *, lead: int) -> None:
        self._lead = lead
        self._lines: dict[str, list[Place]] = {}
        self._turns: dict[str, int] = {}
        self._fewest = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, tenant: str, place: Place) -> None:
        """Let a request wait. Not having waited saves a tenant no turns, and costs it none that it had."""
        line = self._lines.get(tenant)
        if line is None:
            line = self._lines[tenant] = []
            self._turns[tenant] = max(self._turns.get(tenant, 0), self._fewest)
        insort(line, place)
        self._length += 1

    def remove(self, tenant: str, place: Place) -> None:
        """Take a request out without a turn: it gave up or was refused."""
        line = self._lines[tenant]
        del line[bisect_left(line, place)]
        self._length -= 1
        if not line:
            del self._lines[tenant]
        if not self._length:
            self._turns.clear()
            self._fewest = 0

    def take(self, tenant: str, place: Place) -> None:
        """Take a request out because it has its turn."""
        self._turns[tenant] += 1
        if len(self._turns) > FORMER_KEPT + len(self._lines):
            self._turns = {known: self._turns[known] for known in self._lines}
        self.remove(tenant, place)

    def first(self) -> tuple[str, Place]:
        """Whose turn it is; somebody must wait."""
        turns = self._turns
        self._fewest = min(turns[tenant] for tenant in self._lines)
        latest = self._fewest + self._lead
        place, tenant = min(
            (line[0], tenant) for tenant, line in self._lines.items() if turns[tenant] <= latest
        )
        return tenant, place

    def last(self) -> tuple[str, Place]:
        """Who is given up first: the latest request of the tenant with most; somebody must wait."""
        _, place, tenant = max((len(line), line[-1], tenant) for tenant, line in self._lines.items())
        return tenant, place

    def ahead(self, tenant: str, deadline_ns: int) -> int:
        """About how many of those that wait would go before one more request of the tenant."""
        place = (deadline_ns, 0)
        own = bisect_left(self._lines.get(tenant, ()), place)
        most = own + self._lead + 1
        others = (line for known, line in self._lines.items() if known != tenant)
        return own + sum(min(bisect_left(line, place), most) for line in others)
