"""What every process is told of tenants and their people, as this release writes and reads it."""

from __future__ import annotations

from collections.abc import Iterator

from deployments.front.tenants_fold import TenantsFold
from messaging.topics import TENANTS
from models.principal import Tier
from models.tenant import (
    ApiKeyRecord,
    EndedSession,
    Kind,
    PlatformConfigRecord,
    SigningKeyRecord,
    TenantRecord,
    TenantsRecord,
    TenantStatus,
    UserRecord,
    tenants_key,
)
from signals.encoding import encode
from tests.golden.logs import Golden

_JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "k1"}
_RECORDS: tuple[tuple[Kind, tuple[str, ...], TenantsRecord], ...] = (
    (
        Kind.TENANT,
        ("acme",),
        TenantRecord(
            tenant_id="acme", tier=Tier.PRO, status=TenantStatus.SUSPENDED, entitled_until_ns=9, version=3
        ),
    ),
    (Kind.USER, ("acme", "u-1"), UserRecord(tenant_id="acme", user_id="u-1", enabled=False, version=2)),
    (Kind.SESSION, ("s-1",), EndedSession(session_id="s-1", until_ns=7)),
    (
        Kind.API_KEY,
        ("k-1",),
        ApiKeyRecord(
            key_id="k-1",
            tenant_id="acme",
            user_id="u-1",
            secret_sha256="00" * 32,
            roles=("tenant:trader",),
            scopes=("infer",),
            expires_ns=8,
        ),
    ),
    (Kind.SIGNING_KEY, ("k1",), SigningKeyRecord(kid="k1", jwk=_JWK)),
    (
        Kind.PLATFORM_CONFIG,
        ("global",),
        PlatformConfigRecord(layer="global", config={"features": {"charts": True}}, config_version=1),
    ),
)


def known() -> Iterator[Golden]:
    """One record of each kind, and a tombstone."""
    for offset, (kind, ids, record) in enumerate(_RECORDS):
        yield Golden(TENANTS.name, 0, offset, 1, tenants_key(kind, *ids), encode(record))
    yield Golden(TENANTS.name, 0, len(_RECORDS), 1, tenants_key(Kind.SESSION, "s-1"), None)


def remembered(found: list[Golden]) -> dict[str, object]:
    """What today's fold makes of them."""
    fold = TenantsFold()
    fold.take_all(one.record for one in found)
    tenant, user = fold.tenant("acme"), fold.user("acme", "u-1")
    return {
        "status": tenant.status if tenant else None,
        "enabled": user.enabled if user else None,
        "ended": fold.ended("s-1") is not None,
        "keys": [fold.api_key("k-1") is not None, fold.signing_key("k1") is not None],
        "layer": fold.platform_config("global") is not None,
        "version": fold.version,
    }
