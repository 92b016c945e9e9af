"""Long-term user data, partitioned by type and month.

Two roles meet here, and neither can do the other's work. The application sees and erases the rows of its
transaction's tenant, and writes none. The platform moves events from the log: one batch holds those of many
tenants and has one offset, so it is written in one transaction, which row-level security would allow for one
tenant only. So the platform may insert for any tenant (`WITH CHECK (true)`), but of what is there it sees the
identity columns alone, which it needs to know a repeat: contents are granted to nobody but their tenant.

Nobody is granted anything on the partitions, and row-level security without a policy holds on each of them,
also against the owner: who asks one directly is refused, or sees nothing. Partitions are made and dropped by
two functions of the owner, because the roles that run the hub own nothing.
"""

from alembic import op

from storage.postgres.config import APP_ROLE, PLATFORM_ROLE, SCHEMA
from storage.postgres.migrations.guarding import allow, guard

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TYPES = (
    "auth", "settings", "commands", "trades", "mt5_status", "risk_alerts", "transactions", "backtests",
)  # fmt: skip
_IDENTITY = "tenant_id, user_id, data_type, event_id, at_ns"
_TABLES = f"""
CREATE TABLE {SCHEMA}.user_data (
  tenant_id text NOT NULL,
  user_id text NOT NULL,
  data_type text NOT NULL,
  event_id text NOT NULL,
  type text NOT NULL,
  occurred_ns bigint NOT NULL,
  at_ns bigint NOT NULL,
  body json NOT NULL,
  PRIMARY KEY (tenant_id, user_id, data_type, at_ns, event_id)
) PARTITION BY LIST (data_type);
CREATE TABLE {SCHEMA}.user_data_positions (
  topic text NOT NULL,
  partition integer NOT NULL,
  next_offset bigint NOT NULL CHECK (next_offset >= 0),
  PRIMARY KEY (topic, partition)
);
CREATE TABLE {SCHEMA}.user_data_quarantine (
  topic text NOT NULL,
  partition integer NOT NULL,
  log_offset bigint NOT NULL,
  timestamp_ms bigint NOT NULL,
  reason text NOT NULL,
  key bytea NOT NULL,
  value bytea NOT NULL,
  noted_ns bigint NOT NULL,
  PRIMARY KEY (topic, partition, log_offset, timestamp_ms)
);
"""
_NAMES = ", ".join(f"'{name}'" for name in _TYPES)
_MAKE_MONTH = f"""
CREATE FUNCTION {SCHEMA}.make_user_data_month(kind text, month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  leaf text := format('user_data_%s_%s', kind, to_char(month, 'YYYY_MM'));
  ns CONSTANT numeric := 1000000000;
BEGIN
  IF EXISTS (SELECT FROM pg_class WHERE relname = leaf AND relnamespace = '{SCHEMA}'::regnamespace) THEN
    RETURN false;
  END IF;
  IF kind NOT IN ({_NAMES}) THEN
    RAISE EXCEPTION 'there is no data type %', kind;
  END IF;
  IF month IS DISTINCT FROM date_trunc('month', month)::date OR month < DATE '2020-01-01'
     OR month > date_trunc('month', now() AT TIME ZONE 'UTC')::date + INTERVAL '2 months' THEN
    RAISE EXCEPTION 'month was %, expected a first of a month from 2020 to two months ahead', month;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('{SCHEMA}.user_data'));
  IF EXISTS (SELECT FROM pg_class WHERE relname = leaf AND relnamespace = '{SCHEMA}'::regnamespace) THEN
    RETURN false;
  END IF;
  EXECUTE format('CREATE TABLE {SCHEMA}.%I (LIKE {SCHEMA}.user_data INCLUDING CONSTRAINTS)', leaf);
  EXECUTE format('ALTER TABLE {SCHEMA}.%I ENABLE ROW LEVEL SECURITY', leaf);
  EXECUTE format('ALTER TABLE {SCHEMA}.%I FORCE ROW LEVEL SECURITY', leaf);
  EXECUTE format('CREATE UNIQUE INDEX ON {SCHEMA}.%I (tenant_id, user_id, event_id)', leaf);
  EXECUTE format(
    'ALTER TABLE {SCHEMA}.%I ATTACH PARTITION {SCHEMA}.%I FOR VALUES FROM (%s) TO (%s)',
    'user_data_' || kind, leaf,
    (extract(epoch FROM month::timestamp) * ns)::bigint,
    (extract(epoch FROM month::timestamp + INTERVAL '1 month') * ns)::bigint
  );
  RETURN true;
END
$body$
"""  # noqa: S608 - the names are those above
_DROP_MONTH = f"""
CREATE FUNCTION {SCHEMA}.drop_user_data_month(kind text, month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  IF kind NOT IN ({_NAMES}) THEN
    RAISE EXCEPTION 'there is no data type %', kind;
  END IF;
  IF month >= date_trunc('month', now() AT TIME ZONE 'UTC')::date - INTERVAL '1 month' THEN
    RAISE EXCEPTION 'month was %, and this month and the last are never dropped', month;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('{SCHEMA}.user_data'));
  EXECUTE format(
    'DROP TABLE IF EXISTS {SCHEMA}.%I', format('user_data_%s_%s', kind, to_char(month, 'YYYY_MM'))
  );
END
$body$
"""


def upgrade() -> None:
    """Make the tables, the two functions, and who may do what."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    guard("user_data", app=("SELECT", "DELETE"))
    for name in _TYPES:
        table = f"{SCHEMA}.user_data_{name}"
        op.execute(
            f"CREATE TABLE {table} PARTITION OF {SCHEMA}.user_data FOR VALUES IN ('{name}')"
            " PARTITION BY RANGE (at_ns)"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    _let_the_platform_move()
    _let_the_platform_keep_months()
    allow("user_data_positions", PLATFORM_ROLE, ("SELECT", "INSERT", "UPDATE"))
    allow("user_data_quarantine", PLATFORM_ROLE, ("SELECT", "INSERT", "DELETE"))


def _let_the_platform_move() -> None:
    table = f"{SCHEMA}.user_data"
    op.execute(f"CREATE POLICY moved ON {table} FOR INSERT TO {PLATFORM_ROLE} WITH CHECK (true)")
    op.execute(f"CREATE POLICY identities ON {table} FOR SELECT TO {PLATFORM_ROLE} USING (true)")
    op.execute(f"GRANT INSERT, SELECT ({_IDENTITY}) ON {table} TO {PLATFORM_ROLE}")


def _let_the_platform_keep_months() -> None:
    for function, signature in ((_MAKE_MONTH, "make"), (_DROP_MONTH, "drop")):
        op.execute(function)
        name = f"{SCHEMA}.{signature}_user_data_month(text, date)"
        op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC, {APP_ROLE}")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name} TO {PLATFORM_ROLE}")
