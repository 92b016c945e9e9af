"""Rules about tables: row-level security, its policies, and what was granted beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from storage.postgres.config import TENANT_SETTING
from storage.postgres.rules import Hole, Rule

OPEN_TO_ALL: Final = {"alembic_version": {"SELECT"}}
"""Tables that belong to no tenant, and what everybody's transactions may do with them."""
APPEND_ONLY: Final = {"audit_entries", "audit_cuts"}
"""Tables whose rows are the tenant's, but not the application's to alter."""
_VERBS: Final = {"SELECT", "INSERT", "UPDATE", "DELETE"}
_NOTHING: Final = re.compile(r"[\s()]|::text")
_OWN_ROWS: Final = re.sub(_NOTHING, "", f"tenant_id = current_setting('{TENANT_SETTING}', true)")
# What is in the schema, and what inherits from that wherever it is: a partition can be asked directly.
_OURS: Final = """
    WITH RECURSIVE ours AS (
      SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = :schema AND c.relkind IN ('r', 'p', 'f')
      UNION
      SELECT i.inhrelid FROM pg_inherits i JOIN ours ON ours.oid = i.inhparent
        JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f')
    ), tables AS (
      SELECT c.*, format('%I.%I', n.nspname, c.relname) AS name, EXISTS (
          SELECT FROM pg_attribute a
          WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        ) AS of_tenants
      FROM ours JOIN pg_class c ON c.oid = ours.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    )
"""


def _over_tables(query: str) -> str:
    return _OURS + query


def _row_security(row: Any) -> Iterator[Hole]:
    if row.relkind == "f":
        yield Hole(
            f"{row.name} is a foreign table, which knows no row-level security",
            f"DROP FOREIGN TABLE {row.name}",
        )
        return
    for is_on, verb in ((row.relrowsecurity, "ENABLE"), (row.relforcerowsecurity, "FORCE")):
        if not is_on:
            yield Hole(
                f"the table {row.name} of tenants lacks {verb} ROW LEVEL SECURITY",
                f"ALTER TABLE {row.name} {verb} ROW LEVEL SECURITY",
            )


ROW_SECURITY: Final = Rule(
    _over_tables(
        "SELECT name, relkind::text, relrowsecurity, relforcerowsecurity FROM tables"
        " WHERE of_tenants ORDER BY name"
    ),
    _row_security,
)


def _policies(row: Any) -> Iterator[Hole]:
    if any(text is not None and not shows_own_rows(text) for text in (row.shown, row.written)):
        yield Hole(
            f"the policy {row.policy} on {row.name} lets the application past its tenant: "
            f"USING {row.shown or 'nothing'}, WITH CHECK {row.written or 'the same'}",
            f"DROP POLICY {row.policy} ON {row.name}",
        )


def shows_own_rows(expression: str) -> bool:
    """Whether it is the condition of `migrations/guarding.py`, as PostgreSQL prints what it has parsed."""
    return re.sub(_NOTHING, "", expression) == _OWN_ROWS


POLICIES: Final = Rule(
    _over_tables("""
    SELECT t.name, quote_ident(p.polname) AS policy,
      pg_get_expr(p.polqual, p.polrelid) AS shown, pg_get_expr(p.polwithcheck, p.polrelid) AS written
    FROM tables t JOIN pg_policy p ON p.polrelid = t.oid
    WHERE t.of_tenants AND p.polpermissive AND EXISTS (
      SELECT FROM unnest(p.polroles) AS one
      WHERE one = 0 OR one IN (SELECT oid FROM pg_roles WHERE pg_has_role(oid, 'MEMBER')
        AND rolname NOT IN (:owner, :platform))
    ) ORDER BY 1, 2
    """),
    _policies,
)


_GRANTED: Final = _over_tables(
    """
    SELECT t.name, t.relname, t.of_tenants, given.on_column, given.privilege_type AS verb, given.is_grantable,
      CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(given.grantee)) END AS grantee
    FROM tables t, LATERAL (
      SELECT NULL AS on_column, a.grantee, a.privilege_type, a.is_grantable FROM aclexplode(t.relacl) AS a
      UNION ALL
      SELECT quote_ident(c.attname), a.grantee, a.privilege_type, a.is_grantable
        FROM pg_attribute c, aclexplode(c.attacl) AS a WHERE c.attrelid = t.oid AND NOT c.attisdropped
    ) AS given
    WHERE given.grantee <> t.relowner
      AND (given.grantee = 0 OR given.grantee IN (SELECT oid FROM pg_roles WHERE pg_has_role(oid, 'MEMBER')))
    ORDER BY 1, 4, 5
    """
)


def _untenanted(row: Any) -> Iterator[Hole]:
    if not row.of_tenants and row.verb not in OPEN_TO_ALL.get(row.relname, set()):
        yield Hole(f"{row.grantee} may {_verb(row)} {row.name}, which has no tenant_id", _revoke(row))


UNTENANTED: Final = Rule(_GRANTED, _untenanted)


def _grants(row: Any) -> Iterator[Hole]:
    verb = _verb(row)
    if row.verb not in _VERBS:
        told = f"{row.grantee} has {verb} on {row.name}: row-level security does not see that"
        yield Hole(told, _revoke(row))
    elif row.relname in APPEND_ONLY and row.verb in {"UPDATE", "DELETE"}:
        yield Hole(f"{row.grantee} may {verb} {row.name}, which is only ever added to", _revoke(row))
    elif row.grantee == "PUBLIC":
        yield Hole(f"PUBLIC has {verb} on {row.name}, which no migration granted", _revoke(row))
    elif row.is_grantable:
        again = f"GRANT {verb} ON {row.name} TO {row.grantee}"
        yield Hole(f"{row.grantee} may pass on {verb} on {row.name}", f"{_revoke(row)}; {again}")


GRANTS: Final = Rule(_GRANTED, _grants)


def _verb(row: Any) -> str:
    return f"{row.verb} ({row.on_column})" if row.on_column else row.verb


def _revoke(row: Any) -> str:
    return f"REVOKE {_verb(row)} ON {row.name} FROM {row.grantee}"


def _foreign_keys(row: Any) -> Iterator[Hole]:
    yield Hole(
        f"the foreign key {row.conname} of {row.name} refers to {row.target} without naming the tenant, "
        "and so tells whether another tenant's row exists (add one with tenant_id)",
        f"ALTER TABLE {row.name} DROP CONSTRAINT {row.conname}",
    )


FOREIGN_KEYS: Final = Rule(
    _over_tables("""
    SELECT t.name, quote_ident(k.conname) AS conname, target.name AS target
    FROM pg_constraint k JOIN tables t ON t.oid = k.conrelid
      JOIN tables target ON target.oid = k.confrelid AND target.of_tenants
    WHERE k.contype = 'f' AND NOT EXISTS (
      SELECT FROM unnest(k.conkey, k.confkey) AS pair (here, there)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = pair.here AND a.attname = 'tenant_id'
        JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = pair.there AND b.attname = 'tenant_id'
    ) ORDER BY 1, 2
    """),
    _foreign_keys,
)
