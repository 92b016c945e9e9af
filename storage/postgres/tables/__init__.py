"""The tables, as queries see them; `migrations/` makes them, and a test holds the two against each other.

Moments are integer nanoseconds of wall time (`*_ns`), as everywhere in the hub.
"""

from sqlalchemy import MetaData

from storage.postgres.config import SCHEMA

METADATA = MetaData(schema=SCHEMA)
