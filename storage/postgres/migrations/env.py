"""Runs revisions on the connection that `storage/postgres/migrate.py` hands over, in its transaction."""

from alembic import context

from storage.postgres.config import SCHEMA

context.configure(connection=context.config.attributes["connection"], version_table_schema=SCHEMA)
context.run_migrations()
