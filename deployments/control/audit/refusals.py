"""Writes down who was denied what, in the log of the tenant that the caller belongs to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from models.access import Permission
from models.audit import AuditEntry, Outcome
from models.errors import DatabaseAway
from models.principal import Principal
from storage.postgres import audit
from storage.postgres.database import Database

_LOG: Final = logging.getLogger(__name__)


class Refusals:
    """`clock` is wall time in nanoseconds."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    async def write(self, caller: Principal, permission: Permission, what: str) -> None:
        """One entry. The refusal itself stands, whether it can be written down or not."""
        entry = AuditEntry(
            actor=caller.user_id,
            action=f"access.{permission}",
            object=what,
            outcome=Outcome.DENIED,
            at_ns=self._clock(),
        )
        try:
            async with self._database.tenant(caller.tenant_id) as connection:
                await audit.append(connection, caller.tenant_id, entry)
        except DatabaseAway:
            _LOG.warning("a refusal of %s is not in the audit: the database is away", permission)
