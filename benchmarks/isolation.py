"""What row-level security costs: the same transactions on the same rows, with it and without.

Two copies of one database of 1,000 tenants with 1,000 users and 200 sessions each: as the migrations make it,
and with row-level security off. Both are asked as the application in one form: begin, set the tenant, a
statement that names the tenant, commit. Turns alternate, each after an untimed one of the same: pages that
somebody has to read first would be all that is seen. Each copy is asked over two connections; those without
the guard say how far the same thing lies apart from itself.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg

from benchmarks.harness import Benchmark, Report, middle, percentile, spread
from storage.postgres.config import APP_ROLE, PostgresConfig
from tests.support.postgres import PostgresServer, postgres_server

TENANTS: Final = 1_000
USERS: Final = 1_000
SESSIONS: Final = 200
ROUNDS: Final = 150
TURN: Final = 20
TABLES: Final = ("tenants", "users", "sessions")
SIDES: Final = ("on", "on again", "off", "off again")
Given = tuple[Any, ...]


class Shape(NamedTuple):
    """A statement, and values for it: of a tenant, the number of a user, and the number of the turn."""

    name: str
    statement: str
    given: Callable[[str, int, int], Given]


SHAPES: Final = (
    Shape(
        "point", "SELECT * FROM users WHERE tenant_id = %s AND user_id = %s", lambda t, u, _: (t, _user(t, u))
    ),
    Shape("login", "SELECT * FROM users WHERE tenant_id = %s AND login = %s", lambda t, u, _: (t, _login(u))),
    Shape(
        "range",
        "SELECT user_id, login FROM users WHERE tenant_id = %s AND login > %s ORDER BY login LIMIT 100",
        lambda t, u, _: (t, _login(u)),
    ),
    Shape(
        "scan",
        "SELECT count(*), max(changed_ns) FROM users WHERE tenant_id = %s AND enabled",
        lambda t, _u, _: (t,),
    ),
    Shape(
        "join",
        "SELECT s.session_id, u.login FROM sessions s JOIN users u USING (tenant_id, user_id)"
        " WHERE s.tenant_id = %s AND u.tenant_id = %s AND s.expires_ns > %s",
        lambda t, u, _: (t, t, u % SESSIONS),
    ),
    Shape(
        "insert",
        "INSERT INTO sessions VALUES (%s, %s, %s, 'bench', 1, '', 1, 1, 1)",
        lambda t, u, n: (t, f"b-{n}", _user(t, u)),
    ),
    Shape(
        "update",
        "UPDATE users SET changed_ns = changed_ns + 1 WHERE tenant_id = %s AND user_id = %s",
        lambda t, u, _: (t, _user(t, u)),
    ),
)


class Taken(NamedTuple):
    """Milliseconds of whole transactions and of their statements alone, and of the server's processor a
    transaction, by shape and side.
    """

    transactions: dict[tuple[str, str], list[float]]
    statements: dict[tuple[str, str], list[float]]
    processor: dict[tuple[str, str], list[float]]


def run(report: Report) -> None:
    """Fill one database, copy it, take the guard off the copy, and ask both."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-isolation-"))
        server = stack.enter_context(postgres_server(Path(directory)))
        guarded = stack.enter_context(server.clone())
        _fill(server, guarded)
        bare = stack.enter_context(server.clone(guarded.database))
        _bare(server, bare)
        sides = {side: stack.enter_context(_application(guarded if side == "on" else bare)) for side in SIDES}
        with _on_one_processor(sides.values()):
            _report(report, _measured(report, sides))


@contextmanager
def _on_one_processor(connections: Iterable[psycopg.Connection[Any]]) -> Iterator[None]:
    """This process and the server's take turns anyway. Where they may wander, how far apart they are decides
    more than what is asked. Needs the right to move the server's processes; without it they wander.
    """
    usual = os.sched_getaffinity(0)
    pids = [0, *(one.info.backend_pid for one in connections)]
    with suppress(PermissionError):
        for pid in pids:
            os.sched_setaffinity(pid, {min(usual)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def _measured(report: Report, sides: dict[str, psycopg.Connection[Any]]) -> Taken:
    rng, taken, numbers = random.Random(5), _taken(), count()
    for _ in range(ROUNDS):
        for shape in SHAPES:
            asked = [(f"t-{rng.randrange(TENANTS):04}", rng.randrange(USERS)) for _ in range(TURN)]
            for connection in sides.values():
                list(_turn(connection, shape, asked, numbers))
            for side in rng.sample(SIDES, len(SIDES)):
                report.validity.pause()
                before_ns = _on_processor_ns(sides[side])
                for whole, alone in _turn(sides[side], shape, asked, numbers):
                    taken.transactions[shape.name, side].append(whole)
                    taken.statements[shape.name, side].append(alone)
                spent_ns = _on_processor_ns(sides[side]) - before_ns
                taken.processor[shape.name, side].append(spent_ns / len(asked) / 1e6)
    return taken


def _on_processor_ns(connection: psycopg.Connection[Any]) -> int:
    """How long the server's process of this connection has run, whoever else wants the processor."""
    return int(Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text().split()[0])


def _taken() -> Taken:
    return Taken(defaultdict(list), defaultdict(list), defaultdict(list))


def _turn(
    connection: psycopg.Connection[Any], shape: Shape, asked: list[tuple[str, int]], numbers: Iterator[int]
) -> Iterator[tuple[float, float]]:
    for tenant, user in asked:
        yield _transaction(connection, tenant, shape, shape.given(tenant, user, next(numbers)))


def _transaction(
    connection: psycopg.Connection[Any], tenant: str, shape: Shape, given: Given
) -> tuple[float, float]:
    begun = time.perf_counter()
    with connection.transaction():
        connection.execute("SELECT set_config('hub.tenant', %s, true)", (tenant,))
        asked = time.perf_counter()
        cursor = connection.execute(shape.statement, given)
        if cursor.description:
            cursor.fetchall()
        answered = time.perf_counter()
    return (time.perf_counter() - begun) * 1e3, (answered - asked) * 1e3


def _report(report: Report, taken: Taken) -> None:
    whole, alone, processor = [], [], []
    for shape in SHAPES:
        on, off = _both(taken.transactions, shape.name, "on"), _both(taken.transactions, shape.name, "off")
        whole.append(middle(on) / middle(off))
        alone.append(_ratio(taken.statements, shape.name))
        processor.append(_ratio(taken.processor, shape.name))
        says = f"on over off (off p50 {middle(off):.2f} ms; the statement alone {alone[-1]:.3f})"
        report.add(f"{shape.name}_p50_ratio", whole[-1], says)
        report.add(
            f"{shape.name}_processor_ratio", processor[-1], "the server's processor time a transaction"
        )
        report.add(f"{shape.name}_p99_ratio", percentile(on, 99) / percentile(off, 99), "the same at p99")
        again = taken.transactions[shape.name, "off again"]
        apart = spread(taken.transactions[shape.name, "off"], again)
        report.add(f"{shape.name}_aa_spread", apart, "off against itself")
    report.add("p50_ratio", max(whole), "the worst shape, whole transactions (aim: 1.15)")
    report.add("processor_ratio", max(processor), "the worst shape, the server's processor time")
    report.add("statement_ratio", max(alone), "the worst shape, the statement without begin and commit")


def _ratio(times: dict[tuple[str, str], list[float]], shape: str) -> float:
    return middle(_both(times, shape, "on")) / middle(_both(times, shape, "off"))


def _both(times: dict[tuple[str, str], list[float]], shape: str, side: str) -> list[float]:
    return [*times[shape, side], *times[shape, f"{side} again"]]


def _fill(server: PostgresServer, config: PostgresConfig) -> None:
    with _administrator(server, config) as admin:
        admin.execute("SET synchronous_commit = off")
        admin.execute(
            "INSERT INTO tenants SELECT to_char(t, 'FM\"t-\"0000'), 'T', 'pro', 'active', 1, 1, 1, 1"
            " FROM generate_series(0, %s - 1) AS t",
            (TENANTS,),
        )
        admin.execute(
            "INSERT INTO users SELECT tenant_id, tenant_id || to_char(u, 'FM\"-u-\"0000'),"
            " to_char(u, 'FM\"user-\"0000'), 'A Name', NULL, '{tenant:trader}', true, '{}', NULL, 0, 1, u, 1"
            " FROM generate_series(0, %s - 1) AS u, tenants ORDER BY tenant_id, u",
            (USERS,),
        )
        admin.execute(
            "INSERT INTO sessions"
            " SELECT tenant_id, user_id || '-s', user_id, 'bench', 1, '', 1, 1, changed_ns"
            " FROM users WHERE changed_ns < %s",
            (SESSIONS,),
        )
        admin.execute("VACUUM ANALYZE")


def _bare(server: PostgresServer, config: PostgresConfig) -> None:
    with _administrator(server, config) as admin:
        for table in TABLES:
            admin.execute(
                f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY".encode()
            )
        admin.execute("VACUUM ANALYZE")
        admin.execute("CHECKPOINT")


def _user(tenant: str, number: int) -> str:
    return f"{tenant}-u-{number:04}"


def _login(number: int) -> str:
    return f"user-{number:04}"


@contextmanager
def _administrator(server: PostgresServer, config: PostgresConfig) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server.dsn(config.database), autocommit=True, options="-c search_path=hub") as admin:
        yield admin


@contextmanager
def _application(config: PostgresConfig) -> Iterator[psycopg.Connection[Any]]:
    assert config.app.password  # noqa: S101 - the server of this run gave it
    host, _, port = config.address.rpartition(":")
    with psycopg.connect(
        host=host, port=port, dbname=config.database, user=APP_ROLE, password=config.app.password.resolve(),
        autocommit=True, options="-c search_path=hub",
    ) as connection:  # fmt: skip
        yield connection


BENCHMARK: Final = Benchmark(
    "isolation", "What row-level security costs: the same transactions with it and without.", run
)
