"""Who forgets failed logins may lock them first: a row that an attempt holds is then passed over."""

from storage.postgres.config import PLATFORM_ROLE
from storage.postgres.migrations.guarding import allow

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """PostgreSQL asks for UPDATE of whoever locks a row."""
    allow("login_failures", PLATFORM_ROLE, ("UPDATE",))
