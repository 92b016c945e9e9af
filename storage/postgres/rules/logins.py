"""Rules about the role that is logged in: what it is, may become and owns, and what is set for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from storage.postgres.config import OWNER_ROLE, PLATFORM_ROLE, TENANT_SETTING
from storage.postgres.rules import Hole, Rule

OLDEST: Final = 150_000
_POWERS: Final = {
    "rolsuper": "SUPERUSER",
    "rolbypassrls": "BYPASSRLS",
    "rolcreaterole": "CREATEROLE",
    "rolreplication": "REPLICATION",
}


def _powers(row: Any) -> Iterator[Hole]:
    for attribute, power in _POWERS.items():
        if getattr(row, attribute):
            yield Hole(f"the role {row.login} is {power}", f"ALTER ROLE {row.login} NO{power}")


POWERS: Final = Rule(
    "SELECT quote_ident(rolname) AS login, rolsuper, rolbypassrls, rolcreaterole, rolreplication"
    " FROM pg_roles WHERE rolname = current_user",
    _powers,
)


def _memberships(row: Any) -> Iterator[Hole]:
    reasons = [power for attribute, power in _POWERS.items() if getattr(row, attribute)]
    if row.owns:
        reasons.append("owner of the hub's tables, schema or database")
    if row.predefined:
        reasons.append("one of PostgreSQL's own roles that reach beyond the tables granted")
    if reasons:
        why = " and ".join(reasons)
        yield Hole(f"the role {row.login} is a member of {row.role}, which is {why}", row.closes)


MEMBERSHIPS: Final = Rule(
    """
    SELECT quote_ident(current_user) AS login, quote_ident(r.rolname) AS role,
      r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolreplication, r.rolname LIKE 'pg\\_%' AS predefined,
      EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = :schema AND c.relowner = r.oid)
        OR EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = :schema AND n.nspowner = r.oid)
        OR EXISTS (SELECT FROM pg_database d WHERE d.datname = current_database() AND d.datdba = r.oid)
        AS owns,
      (SELECT string_agg(format('REVOKE %I FROM %I', g.rolname, current_user), '; ')
       FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
       WHERE m.member = me.oid AND pg_has_role(g.oid, r.oid, 'MEMBER')) AS closes
    FROM pg_roles me JOIN pg_roles r ON r.oid <> me.oid AND pg_has_role(me.oid, r.oid, 'MEMBER')
    WHERE me.rolname = current_user AND r.rolname <> 'pg_database_owner'
    ORDER BY r.rolname
    """,
    _memberships,
)


def _platform(row: Any) -> Iterator[Hole]:
    yield Hole(
        f"the application logs in as {row.login}, which may act as {PLATFORM_ROLE} and see all tenants",
        f"REVOKE {PLATFORM_ROLE} FROM {row.login}",
    )


NOT_THE_PLATFORM: Final = Rule(
    "SELECT quote_ident(current_user) AS login FROM pg_roles"
    " WHERE rolname = :platform AND pg_has_role(oid, 'MEMBER')",
    _platform,
)


def _possessions(row: Any) -> Iterator[Hole]:
    yield Hole(
        f"the role {row.login} owns the {row.kind} {row.name}",
        f"ALTER {row.kind.upper()} {row.name} OWNER TO {OWNER_ROLE}",
    )


POSSESSIONS: Final = Rule(
    """
    WITH me AS (SELECT oid FROM pg_roles WHERE rolname = current_user)
    SELECT quote_ident(current_user) AS login, owned.kind, owned.name FROM (
      SELECT 'database' AS kind, quote_ident(d.datname) AS name
        FROM pg_database d JOIN me ON d.datdba = me.oid WHERE d.datname = current_database()
      UNION ALL
      SELECT 'schema', quote_ident(n.nspname)
        FROM pg_namespace n JOIN me ON n.nspowner = me.oid WHERE n.nspname = :schema
      UNION ALL
      SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
             ELSE 'table' END, format('%I.%I', n.nspname, c.relname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN me ON c.relowner = me.oid
        WHERE n.nspname = :schema AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
      UNION ALL
      SELECT 'routine', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN me ON p.proowner = me.oid
        WHERE n.nspname = :schema
    ) AS owned ORDER BY 2, 3
    """,
    _possessions,
)


def _places(row: Any) -> Iterator[Hole]:
    yield Hole(
        f"the role {row.login} may make objects of its own ({row.verb} on the {row.kind} {row.name})",
        f"REVOKE {row.verb} ON {row.kind.upper()} {row.name} FROM PUBLIC, {row.login}",
    )


PLACES: Final = Rule(
    """
    SELECT quote_ident(current_user) AS login, kind, name, verb FROM (
      SELECT 'schema' AS kind, quote_ident(nspname) AS name, 'CREATE' AS verb FROM pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
          AND has_schema_privilege(oid, 'CREATE')
      UNION ALL
      SELECT 'database', quote_ident(current_database()), verb
        FROM unnest(ARRAY['CREATE', 'TEMPORARY']) AS verb
        WHERE has_database_privilege(current_database(), verb)
    ) AS places ORDER BY 2, 3, 4
    """,
    _places,
)


def _settings(row: Any) -> Iterator[Hole]:
    if row.row_security != "on":
        yield Hole(
            f"row_security is {row.row_security} for the role {row.login}", _reset(row, "row_security")
        )
    if row.tenant:
        yield Hole(
            f"{TENANT_SETTING} is set to {row.tenant!r} for whoever logs in as {row.login}",
            _reset(row, TENANT_SETTING),
        )
    if row.version < OLDEST:
        yield Hole(
            f"the server is PostgreSQL {row.version // 10_000}, which has no security_invoker views",
            "no SQL: the hub needs PostgreSQL 15 or newer",
        )


def _reset(row: Any, name: str) -> str:
    return (
        f"ALTER ROLE {row.login} RESET {name}; ALTER DATABASE {row.database} RESET {name};"
        f" ALTER ROLE {row.login} IN DATABASE {row.database} RESET {name}; ALTER SYSTEM RESET {name};"
        " SELECT pg_reload_conf()"
    )


SETTINGS: Final = Rule(
    "SELECT quote_ident(current_user) AS login, quote_ident(current_database()) AS database,"
    " current_setting('row_security') AS row_security,"
    f" current_setting('{TENANT_SETTING}', true) AS tenant,"
    " current_setting('server_version_num')::int AS version",
    _settings,
)
