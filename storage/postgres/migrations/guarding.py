"""How a table is put behind the boundary. Every table that has a `tenant_id` goes through `guard`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from alembic import op

from storage.postgres.config import APP_ROLE, PLATFORM_ROLE, SCHEMA, TENANT_SETTING

# Not in a sub-select, which would save its evaluation for each row: where a query names the tenant it is done
# once anyway, and a plan without a sub-select starts sooner (`python -m benchmarks isolation`).
OWN_ROWS: Final = f"tenant_id = current_setting('{TENANT_SETTING}', true)"


def guard(table: str, *, app: Sequence[str], platform: Sequence[str] = ()) -> None:
    """Row-level security, also against the owner: the application does `app` (SELECT, INSERT, ...) with the
    rows of its transaction's tenant, the platform does `platform` with all rows.
    """
    name = f"{SCHEMA}.{table}"
    op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {name} ADD CHECK (tenant_id <> '')")
    op.execute(f"CREATE POLICY own_rows ON {name} TO {APP_ROLE} USING ({OWN_ROWS}) WITH CHECK ({OWN_ROWS})")
    allow(table, APP_ROLE, app)
    if platform:
        op.execute(f"CREATE POLICY all_rows ON {name} TO {PLATFORM_ROLE} USING (true) WITH CHECK (true)")
        allow(table, PLATFORM_ROLE, platform)


def allow(table: str, role: str, verbs: Sequence[str]) -> None:
    """Let a role do this with a table; for one that has no tenant, the platform alone."""
    if verbs:
        op.execute(f"GRANT {', '.join(verbs)} ON {SCHEMA}.{table} TO {role}")
