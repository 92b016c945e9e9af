"""What `hub.tenants` says: tenants, users, ended sessions, keys and layers of config, by what names them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from messaging.ports import LogRecord
from models.tenant import (
    RECORDS,
    ApiKeyRecord,
    EndedSession,
    Kind,
    PlatformConfigRecord,
    SigningKeyRecord,
    TenantRecord,
    TenantsRecord,
    UserRecord,
    tenants_key_parts,
)

_LOG: Final = logging.getLogger(__name__)

R = TypeVar("R", bound=TenantsRecord)


class TenantsFold:
    """`version` is the offset of the last record that was folded; `changes` counts them."""

    def __init__(self) -> None:
        self.version = -1
        self.changes = 0
        self._records: dict[Kind, dict[tuple[str, ...], Any]] = {kind: {} for kind in Kind}

    def take_all(self, records: Iterable[LogRecord]) -> bool:
        """Fold records in the order of the log; whether there were any. What cannot be read is left out."""
        before = self.changes
        for record in records:
            self._take(record)
        return self.changes != before

    def tenant(self, tenant_id: str) -> TenantRecord | None:
        """What is known of a tenant; None for one that does not exist."""
        return self._find(Kind.TENANT, TenantRecord, tenant_id)

    def user(self, tenant_id: str, user_id: str) -> UserRecord | None:
        """What there is to know of a user; None where there is nothing."""
        return self._find(Kind.USER, UserRecord, tenant_id, user_id)

    def ended(self, session_id: str) -> EndedSession | None:
        """The session, if its tokens do not count any more."""
        return self._find(Kind.SESSION, EndedSession, session_id)

    def api_key(self, key_id: str) -> ApiKeyRecord | None:
        """A key that was not revoked; it may have expired."""
        return self._find(Kind.API_KEY, ApiKeyRecord, key_id)

    def signing_key(self, kid: str) -> SigningKeyRecord | None:
        """A key that tokens are verified with."""
        return self._find(Kind.SIGNING_KEY, SigningKeyRecord, kid)

    def platform_config(self, layer: str) -> PlatformConfigRecord | None:
        """A layer of the config above the tenants."""
        return self._find(Kind.PLATFORM_CONFIG, PlatformConfigRecord, layer)

    @property
    def tenants(self) -> Mapping[tuple[str, ...], TenantRecord]:
        """All tenants."""
        return self._records[Kind.TENANT]

    @property
    def signing_keys(self) -> Mapping[tuple[str, ...], SigningKeyRecord]:
        """All keys that tokens are verified with."""
        return self._records[Kind.SIGNING_KEY]

    def _find(self, kind: Kind, _type: type[R], *ids: str) -> R | None:
        found: R | None = self._records[kind].get(ids)
        return found

    def _take(self, record: LogRecord) -> None:
        self.version = record.offset
        self.changes += 1
        try:
            kind, ids = tenants_key_parts(record.key)
            if record.value is None:
                self._records[kind].pop(ids, None)
            else:
                self._records[kind][ids] = RECORDS[kind].from_record(record.value)
        except ValueError as error:
            _LOG.warning("a record of hub.tenants cannot be read: %s", type(error).__name__)
