"""Rules about what runs with somebody else's rights: views, rewrite rules and functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from storage.postgres.rules import Hole, Rule


def _views(row: Any) -> Iterator[Hole]:
    if row.relkind == "m":
        yield Hole(
            f"the materialised view {row.name} keeps rows of all tenants, and knows no row-level security",
            f"DROP MATERIALIZED VIEW {row.name}",
        )
    else:
        yield Hole(
            f"the view {row.name} reads with its owner's rights",
            f"ALTER VIEW {row.name} SET (security_invoker = true)",
        )


VIEWS: Final = Rule(
    """
    WITH RECURSIVE reached AS (
      SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :schema
      UNION
      SELECT w.ev_class FROM reached JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass
        AND d.refobjid = reached.oid AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_rewrite w ON w.oid = d.objid
    )
    SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind::text
    FROM reached JOIN pg_class c ON c.oid = reached.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (c.relkind = 'm' OR c.relkind = 'v' AND NOT coalesce((
        SELECT o.option_value::bool FROM pg_options_to_table(c.reloptions) AS o
        WHERE o.option_name = 'security_invoker'), false))
      AND (n.nspname = :schema OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE'))
    ORDER BY 1
    """,
    _views,
)


def _rewrites(row: Any) -> Iterator[Hole]:
    yield Hole(
        f"the rewrite rule {row.rule} of {row.name} acts with the rights of the table's owner",
        f"DROP RULE {row.rule} ON {row.name}",
    )


REWRITES: Final = Rule(
    """
    SELECT format('%I.%I', n.nspname, c.relname) AS name, quote_ident(w.rulename) AS rule
    FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class AND c.relkind NOT IN ('v', 'm')
      JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema ORDER BY 1, 2
    """,
    _rewrites,
)


def _definers(row: Any) -> Iterator[Hole]:
    yield Hole(
        f"the application may call {row.name}, which runs with the rights of {row.owner} (SECURITY DEFINER)",
        f"REVOKE EXECUTE ON ROUTINE {row.name} FROM PUBLIC, {row.login}",
    )


DEFINERS: Final = Rule(
    """
    SELECT quote_ident(current_user) AS login, format('%I.%I(%s)', n.nspname, p.proname,
      pg_get_function_identity_arguments(p.oid)) AS name, quote_ident(pg_get_userbyid(p.proowner)) AS owner
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND has_function_privilege(p.oid, 'EXECUTE')
    ORDER BY 2
    """,
    _definers,
)
