"""Guessing is slowed down, and nobody can lock out somebody else by it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from deployments.control.auth import lockout, source_rate
from storage.ports import Rate
from storage.postgres import login_failures
from storage.postgres.login_failures import Tally
from tests.support.control import ControlHub
from tests.support.logins import client_from, provision, try_login

LONG = 600
"""Seconds: a wait that no slow machine outlasts."""
WRONG = "wrong horse battery"


@pytest.fixture(autouse=True)
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is blocked stays so for the length of a test."""
    monkeypatch.setattr(lockout, "BY_SOURCE", lockout.BY_SOURCE._replace(first_s=LONG))


async def test_a_source_that_goes_on_failing_has_to_wait(control: ControlHub) -> None:
    """429 with the time, also for the right password; another source and another login do not wait."""
    await provision(control)
    failed = [await try_login(control.client, password=WRONG) for _ in range(lockout.BY_SOURCE.free + 1)]
    blocked = await try_login(control.client)
    async with client_from(control, "192.0.2.7") as elsewhere:
        let_in = await try_login(elsewhere)
    other = await try_login(control.client, "bob")

    assert [answer.status_code for answer in failed] == [401] * len(failed)
    assert (blocked.status_code, blocked.json()["code"]) == (429, "rate_limited")
    assert LONG - 120 < int(blocked.headers["Retry-After"]) <= LONG
    assert (let_in.status_code, other.status_code) == (200, 401)


async def test_of_many_guesses_at_once_no_more_are_looked_at(control: ControlHub) -> None:
    """Each is counted before the next is judged: fifty in parallel get no further than five in a row."""
    await provision(control)
    answers = await asyncio.gather(*(try_login(control.client, password=WRONG) for _ in range(50)))

    looked_at = sum(answer.status_code == 401 for answer in answers)
    assert looked_at == lockout.BY_SOURCE.free + 1
    assert {answer.status_code for answer in answers} == {401, 429}


async def test_counted_after_the_look_more_would_be_looked_at(
    control: ControlHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is planted: an attempt is judged first and counted when it has failed."""
    judged = lockout.attempted

    def later(tallies: Mapping[str, Tally], source: str, now_ns: int) -> lockout.Attempt:
        return lockout.Attempt(judged(tallies, source, now_ns).wait_ns, {})

    monkeypatch.setattr(lockout, "attempted", later)
    await provision(control)
    answers = await asyncio.gather(*(try_login(control.client, password=WRONG) for _ in range(20)))

    assert sum(answer.status_code == 401 for answer in answers) > lockout.BY_SOURCE.free + 1


async def test_nobody_is_locked_out_by_the_failures_of_others(
    control: ControlHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that knew the password once comes in while a hundred others are held up by each other."""
    monkeypatch.setattr(lockout, "OVER_ALL", lockout.Slowdown(free=3, first_s=LONG, most_s=LONG))
    await provision(control)
    async with client_from(control, "198.51.100.1") as home:
        assert (await try_login(home)).status_code == 200
        statuses = []
        for number in range(8):
            async with client_from(control, f"192.0.2.{number}") as guesser:
                statuses.append((await try_login(guesser, password=WRONG)).status_code)
        at_home = await try_login(home)
    async with client_from(control, "192.0.2.200") as stranger:
        unknown = await try_login(stranger)

    assert statuses == [401] * 4 + [429] * 4
    assert at_home.status_code == 200
    assert unknown.status_code == 429


async def test_who_waits_is_the_same_for_a_login_that_is_not_there(control: ControlHub) -> None:
    """Or the waiting would tell which logins exist: same answers, tenant by tenant, login by login."""
    await provision(control)

    async def answers(number: int, tenant: str, login: str) -> list[int]:
        async with client_from(control, f"192.0.2.{number}") as client:
            asked = [
                await try_login(client, login, tenant=tenant, password=WRONG)
                for _ in range(lockout.BY_SOURCE.free + 2)
            ]
        return [answer.status_code for answer in asked]

    there = await answers(1, "acme", "ann")
    assert there == [401] * (lockout.BY_SOURCE.free + 1) + [429]
    assert await answers(2, "acme", "nobody") == there
    assert await answers(3, "nobody", "ann") == there


async def test_forgetting_old_failures_disturbs_no_attempt(control: ControlHub) -> None:
    """They are deleted beside attempts that look at them, and none of these fails by it."""
    await provision(control)
    database, later_ns = control.services.database, control.services.clock() + 10**18

    async def forget() -> None:
        for _ in range(20):
            async with database.platform() as connection:
                await login_failures.forget(connection, before_ns=later_ns, good_before_ns=later_ns)

    attempts = (try_login(control.client, f"user{number % 3}", password=WRONG) for number in range(60))
    answers = await asyncio.gather(forget(), *attempts)

    assert {answer.status_code for answer in answers if answer is not None} <= {401, 429}


async def test_forgetting_passes_over_what_an_attempt_holds(control: ControlHub) -> None:
    """It neither waits for the attempt nor lets it wait in a circle; afterwards it forgets. Attempts are of
    now, so that the hub's own tidying leaves them to the test.
    """
    database, now_ns = control.services.database, control.services.clock()
    later_ns = now_ns + 10**18

    async def forgotten() -> int:
        async with asyncio.timeout(2), database.platform() as connection:
            return await login_failures.forget(connection, before_ns=later_ns, good_before_ns=later_ns)

    async with database.tenant("acme") as connection:
        await login_failures.locked(connection, "acme", "ann", ("192.0.2.1",), now_ns=now_ns)
    async with database.tenant("acme") as connection:
        await login_failures.locked(connection, "acme", "ann", ("192.0.2.1", "192.0.2.2"), now_ns=now_ns)
        assert await forgotten() == 0

    assert await forgotten() == 2


async def test_no_header_makes_another_source(control: ControlHub) -> None:
    """The address is the connection's: whoever names others in headers goes on waiting."""
    await provision(control)
    for number in range(lockout.BY_SOURCE.free + 1):
        headers = {"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": f"203.0.113.{number}"}
        await try_login(
            control.client, password=WRONG, headers=headers | {"Forwarded": f"for=203.0.113.{number}"}
        )
    blocked = await try_login(control.client, headers={"X-Forwarded-For": "203.0.113.99"})

    assert blocked.status_code == 429


async def test_one_address_tries_so_many_passwords_a_minute(
    control: ControlHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whosever they are: looking at a password costs a processor."""
    monkeypatch.setattr(source_rate, "ATTEMPTS", Rate(3, 60))
    answers = [await try_login(control.client, f"user{number}") for number in range(4)]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
