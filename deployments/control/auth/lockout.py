"""How guessing of passwords is slowed down, so that nobody can lock out somebody else.

Failures count by tenant, login and the address they come from, and a source that goes on failing waits longer
each time. Sources that never knew the password are slowed down together, too: a thousand addresses get no
further than a few. One that has known the password before never waits for what others do.

An attempt counts as a failure before its password is looked at, and is taken back when that is right: of many
at once none slips through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from models.errors import RateLimited
from storage.postgres import login_failures
from storage.postgres.database import Database
from storage.postgres.login_failures import Tally

EVERYBODY: Final = "*"
"""The tally over all sources that never knew the password."""
FORGOTTEN_NS: Final = 3600 * 10**9
"""After so long without an attempt the count begins anew."""
TRUSTED_NS: Final = 90 * 86_400 * 10**9
"""So long a source is one that has known the password."""


class Slowdown(NamedTuple):
    """So many failures are free; the next waits `first_s`, each one after twice as long, up to `most_s`."""

    free: int
    first_s: int
    most_s: int

    def delay_ns(self, failures: int) -> int:
        """How long nothing is tried after so many failures in a row."""
        beyond = failures - self.free
        return min(self.most_s, self.first_s << min(beyond - 1, 30)) * 10**9 if beyond > 0 else 0


BY_SOURCE: Final = Slowdown(free=4, first_s=2, most_s=900)
OVER_ALL: Final = Slowdown(free=20, first_s=1, most_s=10)


class Attempt(NamedTuple):
    """What one attempt comes to: how long it has to wait, or else the tallies as they are after it."""

    wait_ns: int
    tallies: Mapping[str, Tally]


def attempted(tallies: Mapping[str, Tally], source: str, now_ns: int) -> Attempt:
    """Count an attempt as a failure, unless it has to wait."""
    own, over_all = tallies[source], tallies[EVERYBODY]
    judged = {source: (own, BY_SOURCE)}
    if not _trusted(own, now_ns):
        judged[EVERYBODY] = (over_all, OVER_ALL)
    wait_ns = max(tally.blocked_until_ns for tally, _ in judged.values()) - now_ns
    if wait_ns > 0:
        return Attempt(wait_ns, {})
    return Attempt(0, {name: _counted(tally, rule, now_ns) for name, (tally, rule) in judged.items()})


def succeeded(tallies: Mapping[str, Tally], source: str, now_ns: int) -> Mapping[str, Tally]:
    """Take back what `attempted` counted: the password was right."""
    own, over_all = tallies[source], tallies[EVERYBODY]
    after = {source: Tally(last_ns=now_ns, succeeded_ns=now_ns)}
    if not _trusted(own, now_ns):
        after[EVERYBODY] = over_all._replace(failures=max(0, over_all.failures - 1))
    return after


def source_of(address: str | None) -> str:
    """What counts as one source: an IPv4 address, or the /64 that one customer of a provider has."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return "unknown"
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or f"{IPv6Address(int(parsed) >> 64 << 64)}/64")


class Lockout:
    """Counts attempts in the database. `clock` is wall time in nanoseconds."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    async def admit(self, tenant_id: str, login: str, source: str) -> None:
        """Count an attempt; RateLimited with the time to wait, if it may not be made yet."""
        async with self._database.tenant(tenant_id) as connection:
            tallies, now_ns = await self._tallies(connection, tenant_id, login, source)
            attempt = attempted(tallies, source, now_ns)
            if attempt.tallies:
                await login_failures.put(connection, tenant_id, login, attempt.tallies)
        if attempt.wait_ns > 0:
            raise RateLimited(
                "too many attempts have failed; wait, then try again", retry_after_s=attempt.wait_ns / 1e9
            )

    async def passed(self, tenant_id: str, login: str, source: str) -> None:
        """The attempt that was counted last was right."""
        async with self._database.tenant(tenant_id) as connection:
            tallies, now_ns = await self._tallies(connection, tenant_id, login, source)
            await login_failures.put(connection, tenant_id, login, succeeded(tallies, source, now_ns))

    async def _tallies(
        self, connection: AsyncConnection, tenant_id: str, login: str, source: str
    ) -> tuple[Mapping[str, Tally], int]:
        """Those of the source and of everybody, and the moment when they are one's own to change."""
        sources = (source, EVERYBODY)
        tallies = await login_failures.locked(connection, tenant_id, login, sources, now_ns=self._clock())
        return tallies, self._clock()


def _trusted(tally: Tally, now_ns: int) -> bool:
    return tally.succeeded_ns is not None and now_ns - tally.succeeded_ns < TRUSTED_NS


def _counted(tally: Tally, rule: Slowdown, now_ns: int) -> Tally:
    failures = 1 if now_ns - tally.last_ns > FORGOTTEN_NS else tally.failures + 1
    return tally._replace(
        failures=failures, blocked_until_ns=now_ns + rule.delay_ns(failures), last_ns=now_ns
    )
