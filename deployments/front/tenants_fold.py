"""What `hub.tenants` says: tenants, users, ended sessions, keys and layers of config, by what names them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from messaging.ports import LogRecord
from models.principal import Tier
from models.tenant import (
    RECORDS,
    ApiKeyRecord,
    EndedSession,
    Kind,
    PlatformConfigRecord,
    SigningKeyRecord,
    TenantRecord,
    TenantsRecord,
    TenantStatus,
    UserRecord,
    tenants_key_parts,
)

_LOG: Final = logging.getLogger(__name__)

R = TypeVar("R")


class KnownTenant(NamedTuple):
    """What is asked of a tenant at every call, as a tuple: ten thousand models lie all over the memory, and
    whoever asks for one waits for that. Fields as in `TenantRecord`.
    """

    tier: Tier
    status: TenantStatus
    entitled_until_ns: int
    config: Mapping[str, Any]
    config_version: int


class KnownUser(NamedTuple):
    """What is asked of a user at every call, as a tuple; fields as in `UserRecord`."""

    enabled: bool
    roles: tuple[str, ...]
    not_before_ns: int
    config: Mapping[str, Any]
    config_version: int


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

    def tenant(self, tenant_id: str) -> KnownTenant | None:
        """What is known of a tenant; None for one that does not exist."""
        return self._find(Kind.TENANT, KnownTenant, tenant_id)

    def user(self, tenant_id: str, user_id: str) -> KnownUser | None:
        """What there is to know of a user; None where there is nothing."""
        return self._find(Kind.USER, KnownUser, tenant_id, user_id)

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
                self._records[kind][ids] = _kept(RECORDS[kind].from_record(record.value))
        except ValueError as error:
            _LOG.warning("a record of hub.tenants cannot be read: %s", type(error).__name__)


def _kept(record: TenantsRecord) -> Any:
    match record:
        case TenantRecord():
            return KnownTenant(*(getattr(record, name) for name in KnownTenant._fields))
        case UserRecord():
            return KnownUser(*(getattr(record, name) for name in KnownUser._fields))
        case _:
            return record
