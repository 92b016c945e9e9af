"""Leases on what a tenant may have, and the statement that decides about them."""

from __future__ import annotations

from alembic import op

from storage.postgres.config import APP_ROLE, SCHEMA, TENANT_SETTING
from storage.postgres.migrations.guarding import guard

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE {s}.leases (
  tenant_id text NOT NULL REFERENCES {s}.tenants (tenant_id),
  lease_id text NOT NULL,
  holder text NOT NULL,
  amounts jsonb NOT NULL,
  created_ns bigint NOT NULL,
  expires_ns bigint NOT NULL,
  PRIMARY KEY (tenant_id, lease_id)
);
CREATE INDEX ON {s}.leases (tenant_id, expires_ns);
CREATE TABLE {s}.resource_use (
  tenant_id text PRIMARY KEY REFERENCES {s}.tenants (tenant_id),
  in_use jsonb NOT NULL,
  next_expiry_ns bigint NOT NULL
) WITH (fillfactor = 50);
"""

_NOW = """
CREATE FUNCTION {s}.moment_ns(given bigint) RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint)
$$
"""

_SUM = """
CREATE FUNCTION {s}.lease_sum(before jsonb, sign int, changes jsonb[])
RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(jsonb_object_agg(key, total), '{{}}') FROM (
    SELECT key, sum(amount) AS total FROM (
      SELECT key, value::bigint AS amount FROM jsonb_each_text(before)
      UNION ALL
      SELECT key, sign * value::bigint FROM unnest(changes) AS change, jsonb_each_text(change)
    ) AS parts GROUP BY key
  ) AS sums WHERE total <> 0
$$
"""

_IN_USE = """
CREATE FUNCTION {s}.resources_in_use(given_ns bigint) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
  SELECT {s}.lease_sum(u.in_use, -1, ARRAY(
    SELECT l.amounts FROM {s}.leases AS l
    WHERE l.tenant_id = u.tenant_id AND l.expires_ns <= n.now_ns
  ))
  FROM {s}.resource_use AS u, (SELECT {s}.moment_ns(given_ns) AS now_ns) AS n
  WHERE u.tenant_id = current_setting('{setting}')
$$
"""

# One lock for each tenant, then all that a batch of callers asked: what has expired goes first, then what is
# given back, then renewals, then requests in their order, each granted whole or not at all. A statement in a
# volatile function sees what was committed before it began, so behind the lock all of it is current.
_DECIDE = """
CREATE FUNCTION {s}.decide_leases(ends text[], renewals jsonb, requests jsonb, limits jsonb, given_ns bigint)
RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  tenant text := current_setting('{setting}');
  never CONSTANT bigint := 9223372036854775807;
  now_ns bigint;
  used jsonb;
  before jsonb;
  soonest bigint;
  soonest_before bigint;
  gone jsonb[];
  ended text[];
  renewed jsonb := '[]';
  barred jsonb := '[]';
  known jsonb;
  wanted jsonb[];
  together jsonb;
  all_fit boolean;
  request record;
  short record;
  granted jsonb[] := '{{}}';
  refusals jsonb[] := '{{}}';
  refused jsonb;
BEGIN
  SELECT in_use, next_expiry_ns INTO used, soonest
    FROM {s}.resource_use WHERE tenant_id = tenant FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO {s}.resource_use VALUES (tenant, '{{}}', never) ON CONFLICT DO NOTHING;
    SELECT in_use, next_expiry_ns INTO used, soonest
      FROM {s}.resource_use WHERE tenant_id = tenant FOR UPDATE;
  END IF;
  before := used;
  soonest_before := soonest;
  now_ns := {s}.moment_ns(given_ns);

  IF soonest <= now_ns THEN
    WITH deleted AS (
      DELETE FROM {s}.leases WHERE tenant_id = tenant AND expires_ns <= now_ns RETURNING amounts
    )
      SELECT array_agg(amounts) INTO gone FROM deleted;
    used := {s}.lease_sum(used, -1, gone);
    SELECT coalesce(min(expires_ns), never) INTO soonest FROM {s}.leases WHERE tenant_id = tenant;
  END IF;

  IF cardinality(ends) > 0 THEN
    WITH deleted AS (
      DELETE FROM {s}.leases WHERE tenant_id = tenant AND lease_id = ANY (ends) RETURNING lease_id, amounts
    )
      SELECT array_agg(lease_id), array_agg(amounts) INTO ended, gone FROM deleted;
    used := {s}.lease_sum(used, -1, gone);
  END IF;

  IF jsonb_array_length(renewals) > 0 THEN
    SELECT coalesce(jsonb_agg(l.lease_id), '[]') INTO barred
      FROM jsonb_to_recordset(renewals) AS r (id text)
      JOIN {s}.leases AS l ON l.tenant_id = tenant AND l.lease_id = r.id
      WHERE EXISTS (
        SELECT FROM jsonb_object_keys(l.amounts) AS held WHERE coalesce((limits ->> held)::bigint, 0) = 0
      );
    WITH updated AS (
      UPDATE {s}.leases AS l SET expires_ns = now_ns + r.ttl_ns
        FROM jsonb_to_recordset(renewals) AS r (id text, ttl_ns bigint)
        WHERE l.tenant_id = tenant AND l.lease_id = r.id AND NOT barred ? r.id
        RETURNING l.*
    )
      SELECT coalesce(jsonb_agg(to_jsonb(updated)), '[]'), least(soonest, min(expires_ns))
        INTO renewed, soonest FROM updated;
  END IF;

  IF jsonb_array_length(requests) > 0 THEN
    SELECT coalesce(jsonb_object_agg(l.lease_id, to_jsonb(l)), '{{}}') INTO known
      FROM {s}.leases AS l
      WHERE l.tenant_id = tenant
        AND l.lease_id IN (SELECT r.id FROM jsonb_to_recordset(requests) AS r (id text));
    SELECT coalesce(array_agg(value ORDER BY ordinality), '{{}}') INTO wanted
      FROM jsonb_array_elements(requests) WITH ORDINALITY WHERE NOT known ? (value ->> 'id');
    together := {s}.lease_sum(used, 1, ARRAY(SELECT w -> 'amounts' FROM unnest(wanted) AS w));
    all_fit := NOT EXISTS (
      SELECT FROM jsonb_each_text(together) WHERE value::bigint > coalesce((limits ->> key)::bigint, 0)
    );
    IF all_fit THEN
      granted := wanted;
      used := together;
      wanted := '{{}}';
    END IF;
    FOR request IN SELECT w ->> 'id' AS id, w -> 'amounts' AS amounts, w AS whole
      FROM unnest(wanted) WITH ORDINALITY AS listed (w, place) ORDER BY place
    LOOP
      SELECT key AS resource, value::bigint AS asked, coalesce((used ->> key)::bigint, 0) AS in_use,
             coalesce((limits ->> key)::bigint, 0) AS most
        INTO short FROM jsonb_each_text(request.amounts)
        WHERE coalesce((used ->> key)::bigint, 0) + value::bigint > coalesce((limits ->> key)::bigint, 0)
        ORDER BY key LIMIT 1;
      IF FOUND THEN
        refusals := refusals || (to_jsonb(short) || jsonb_build_object('id', request.id));
      ELSE
        used := {s}.lease_sum(used, 1, ARRAY[request.amounts]);
        granted := granted || request.whole;
      END IF;
    END LOOP;
    IF cardinality(granted) > 0 THEN
      WITH inserted AS (
        INSERT INTO {s}.leases (tenant_id, lease_id, holder, amounts, created_ns, expires_ns)
          SELECT tenant, g ->> 'id', g ->> 'holder', g -> 'amounts', now_ns, now_ns + (g ->> 'ttl_ns')::bigint
          FROM unnest(granted) AS g
          RETURNING leases.*
      )
        SELECT known || jsonb_object_agg(lease_id, to_jsonb(inserted)), least(soonest, min(expires_ns))
          INTO known, soonest FROM inserted;
    END IF;
    WITH shortages AS MATERIALIZED (
      SELECT DISTINCT r ->> 'resource' AS resource,
        (r ->> 'in_use')::bigint + (r ->> 'asked')::bigint - (r ->> 'most')::bigint AS missing
      FROM unnest(refusals) AS r
    ), waits AS MATERIALIZED (
      SELECT s.*, (
        SELECT min(expires_ns) FROM (
          SELECT expires_ns, sum((amounts ->> s.resource)::bigint) OVER (ORDER BY expires_ns) AS freed
          FROM {s}.leases WHERE tenant_id = tenant AND amounts ? s.resource
        ) AS ahead WHERE freed >= s.missing
      ) AS free_ns FROM shortages AS s
    )
      SELECT jsonb_agg(r || jsonb_build_object('free_ns', w.free_ns)) INTO refused
      FROM unnest(refusals) AS r JOIN waits AS w ON w.resource = r ->> 'resource' AND w.missing =
        (r ->> 'in_use')::bigint + (r ->> 'asked')::bigint - (r ->> 'most')::bigint;
  END IF;

  IF used <> before OR soonest <> soonest_before THEN
    UPDATE {s}.resource_use SET in_use = used, next_expiry_ns = soonest WHERE tenant_id = tenant;
  END IF;
  RETURN jsonb_build_object('now_ns', now_ns, 'ended', ended, 'renewed', renewed, 'barred', barred,
    'held', known, 'refused', refused);
END
$$
"""


_FUNCTIONS = (
    "moment_ns(bigint)",
    "lease_sum(jsonb, int, jsonb[])",
    "resources_in_use(bigint)",
    "decide_leases(text[], jsonb, jsonb, jsonb, bigint)",
)


def upgrade() -> None:
    """Make tables and functions; the application alone may call these, with its own rights."""
    for statement in (*_TABLES.split(";\n"), _NOW, _SUM, _IN_USE, _DECIDE):
        if statement.strip():
            op.execute(statement.format(s=SCHEMA, setting=TENANT_SETTING))
    for function in _FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {SCHEMA}.{function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {SCHEMA}.{function} TO {APP_ROLE}")
    guard("leases", app=("SELECT", "INSERT", "UPDATE", "DELETE"))
    guard("resource_use", app=("SELECT", "INSERT", "UPDATE", "DELETE"))
