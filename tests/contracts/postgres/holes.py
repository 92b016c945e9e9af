"""Ways to open the boundary: what an administrator might do, and what the check must say of it.

`{login}` is the role that the application logs in as, `{via}` another role, `{database}` the database.
"""

from __future__ import annotations

from typing import NamedTuple

OWN_ROWS = "tenant_id = current_setting('hub.tenant', true)"


class Planted(NamedTuple):
    """SQL that opens a hole, and words of the complaint."""

    name: str
    sql: str
    told: str

    def __str__(self) -> str:
        return self.name


HOLES = (
    Planted("superuser", "ALTER ROLE {login} SUPERUSER", "the role {login} is SUPERUSER"),
    Planted("bypass", "ALTER ROLE {login} BYPASSRLS", "the role {login} is BYPASSRLS"),
    Planted("makes-roles", "ALTER ROLE {login} CREATEROLE", "the role {login} is CREATEROLE"),
    Planted("reads-the-log", "ALTER ROLE {login} REPLICATION", "the role {login} is REPLICATION"),
    Planted(
        "member", "CREATE ROLE {via} BYPASSRLS; GRANT {via} TO {login}", "member of {via}, which is BYPASSRLS"
    ),
    Planted(
        "member-by-set-role-alone",
        "CREATE ROLE {via} SUPERUSER; GRANT {via} TO {login} WITH INHERIT FALSE",
        "member of {via}, which is SUPERUSER",
    ),
    Planted(
        "member-of-a-member",
        "CREATE ROLE {via} CREATEROLE; CREATE ROLE {via}_2 ROLE {login}; GRANT {via} TO {via}_2",
        "member of {via}, which is CREATEROLE",
    ),
    Planted("member-of-the-owner", "GRANT hub_owner TO {login}", "member of hub_owner, which is owner"),
    Planted("server-files", "GRANT pg_read_server_files TO {login}", "member of pg_read_server_files"),
    Planted("platform", "GRANT hub_platform TO {login}", "may act as hub_platform"),
    Planted(
        "owns-the-database", "ALTER DATABASE {database} OWNER TO {login}", "owns the database {database}"
    ),
    Planted("owns-the-schema", "ALTER SCHEMA hub OWNER TO {login}", "owns the schema hub"),
    Planted("owns-a-table", "ALTER TABLE hub.users OWNER TO {login}", "owns the table hub.users"),
    Planted(
        "owns-a-function",
        "CREATE FUNCTION hub.f() RETURNS int LANGUAGE sql AS 'SELECT 1';"
        " ALTER FUNCTION hub.f() OWNER TO {login}",
        "owns the routine hub.f()",
    ),
    Planted("makes-tables", "GRANT CREATE ON SCHEMA hub TO {login}", "CREATE on the schema hub"),
    Planted(
        "temporary-tables", "GRANT TEMPORARY ON DATABASE {database} TO PUBLIC", "TEMPORARY on the database"
    ),
    Planted("row-security-off", "ALTER ROLE {login} SET row_security = off", "row_security is off"),
    Planted("tenant-of-a-role", "ALTER ROLE {login} SET hub.tenant = 'acme'", "hub.tenant is set to 'acme'"),
    Planted(
        "tenant-of-a-database",
        "ALTER DATABASE {database} SET hub.tenant = 'acme'",
        "hub.tenant is set to 'acme'",
    ),
    Planted(
        "not-enabled", "ALTER TABLE hub.users DISABLE ROW LEVEL SECURITY", "hub.users of tenants lacks ENABLE"
    ),
    Planted(
        "not-forced", "ALTER TABLE hub.users NO FORCE ROW LEVEL SECURITY", "hub.users of tenants lacks FORCE"
    ),
    Planted("new-table", "CREATE TABLE hub.notes (tenant_id text)", "hub.notes of tenants lacks ENABLE"),
    Planted(
        "partition",
        "CREATE TABLE hub.ticks (tenant_id text, at int) PARTITION BY RANGE (at);"
        " ALTER TABLE hub.ticks ENABLE ROW LEVEL SECURITY;"
        " ALTER TABLE hub.ticks FORCE ROW LEVEL SECURITY;CREATE TABLE hub.ticks_1 PARTITION OF"
        " hub.ticks FOR VALUES FROM (0) TO (1)",
        "hub.ticks_1 of tenants lacks FORCE",
    ),
    Planted(
        "partition-elsewhere",
        "CREATE TABLE hub.ticks (tenant_id text, at int) PARTITION BY RANGE (at);"
        " ALTER TABLE hub.ticks ENABLE ROW LEVEL SECURITY;"
        " ALTER TABLE hub.ticks FORCE ROW LEVEL SECURITY;CREATE SCHEMA old;"
        " CREATE TABLE old.ticks PARTITION OF hub.ticks DEFAULT",
        "old.ticks of tenants lacks ENABLE",
    ),
    Planted(
        "policy-for-all-rows",
        "CREATE POLICY extra ON hub.users TO hub_app USING (true)",
        "the policy extra on hub.users lets the application past its tenant",
    ),
    Planted(
        "policy-for-everybody", "CREATE POLICY extra ON hub.users FOR SELECT USING (true)", "the policy extra"
    ),
    Planted(
        "policy-with-an-or",
        f"CREATE POLICY extra ON hub.users TO hub_app USING ({OWN_ROWS} OR login = 'root')",
        "the policy extra",
    ),
    Planted(
        "policy-that-writes",
        f"CREATE POLICY extra ON hub.users TO hub_app USING ({OWN_ROWS}) WITH CHECK (true)",
        "the policy extra",
    ),
    Planted(
        "policy-of-another-setting",
        "CREATE POLICY extra ON hub.users TO hub_app USING (tenant_id = current_setting('x.tenant', true))",
        "the policy extra",
    ),
    Planted(
        "no-tenant",
        "CREATE TABLE hub.shared (x int); GRANT SELECT ON hub.shared TO hub_app",
        "may SELECT hub.shared, which has no tenant_id",
    ),
    Planted(
        "no-tenant-a-column",
        "CREATE TABLE hub.shared (x int, y int); GRANT UPDATE (x) ON hub.shared TO hub_app",
        "may UPDATE (x) hub.shared",
    ),
    Planted("signing-keys", "GRANT SELECT ON hub.signing_keys TO hub_app", "may SELECT hub.signing_keys"),
    Planted(
        "writes-the-revision",
        "GRANT UPDATE ON hub.alembic_version TO hub_app",
        "may UPDATE hub.alembic_version",
    ),
    Planted("truncate", "GRANT TRUNCATE ON hub.users TO hub_app", "hub_app has TRUNCATE on hub.users"),
    Planted(
        "references",
        "GRANT REFERENCES (user_id) ON hub.users TO {login}",
        "REFERENCES (user_id) on hub.users",
    ),
    Planted("trigger", "GRANT TRIGGER ON hub.users TO hub_platform", "hub_platform has TRIGGER on hub.users"),
    Planted("everybody", "GRANT SELECT ON hub.users TO PUBLIC", "PUBLIC has SELECT on hub.users"),
    Planted(
        "passes-on",
        "GRANT SELECT ON hub.users TO hub_app WITH GRANT OPTION",
        "may pass on SELECT on hub.users",
    ),
    Planted(
        "audit",
        "GRANT UPDATE ON hub.audit_entries TO hub_app",
        "UPDATE hub.audit_entries, which is only ever added",
    ),
    Planted(
        "foreign-key",
        "ALTER TABLE hub.sessions ADD CONSTRAINT oracle FOREIGN KEY (user_id) REFERENCES hub.users",
        "the foreign key oracle of hub.sessions refers to hub.users without naming the tenant",
    ),
    Planted(
        "view",
        "CREATE VIEW hub.people AS SELECT * FROM hub.users",
        "the view hub.people reads with its owner's",
    ),
    Planted(
        "view-elsewhere",
        "CREATE SCHEMA tools;"
        " CREATE VIEW tools.people AS SELECT * FROM hub.users;"
        " GRANT SELECT (login) ON tools.people TO hub_app",
        "the view tools.people",
    ),
    Planted(
        "view-of-a-view",
        "CREATE VIEW hub.a WITH (security_invoker = true) AS SELECT * FROM hub.users;"
        " CREATE SCHEMA tools;"
        " CREATE VIEW tools.b AS SELECT * FROM hub.a;"
        " GRANT SELECT ON tools.b TO hub_app",
        "the view tools.b",
    ),
    Planted(
        "materialised", "CREATE MATERIALIZED VIEW hub.m AS SELECT * FROM hub.users", "materialised view hub.m"
    ),
    Planted(
        "rewrite",
        "CREATE RULE r AS ON INSERT TO hub.users DO ALSO SELECT 1",
        "the rewrite rule r of hub.users",
    ),
    Planted(
        "definer",
        "CREATE FUNCTION hub.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*)"
        " FROM hub.users'",
        "the application may call hub.peek(), which runs with the rights of postgres",
    ),
)
