"""The local copy of `hub.tenants` as a test fills it, and tokens and API keys that go with it."""

from __future__ import annotations

import base64
import time
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deployments.front.callers import CallerVerifier, callers_of
from deployments.front.denials import DenialLog
from deployments.front.tenants_fold import TenantsFold
from deployments.front.tokens import HubTokens, mint_of_hub
from messaging.ports import LogRecord
from messaging.topics import TENANTS
from models.principal import Principal, Tier
from models.tenant import (
    ApiKeyRecord,
    EndedSession,
    Kind,
    SigningKeyRecord,
    TenantRecord,
    TenantsRecord,
    TenantStatus,
    UserRecord,
    tenants_key,
)
from tests.unit.gateway.doubles import TOKENS, principal

HUB = HubTokens()
SESSION = "a" * 32
UNTIL_NS = 2_000_000_000 * 10**9
SECRET = "s" * 43


class Accounts:
    """One tenant, `acme`, a signing key `k1`, and whatever a test changes of them."""

    def __init__(self) -> None:
        self.fold = TenantsFold()
        self.keys: dict[str, Ed25519PrivateKey] = {}
        self.tenant()
        self.signing_key("k1")

    def callers(self, *, lenient: bool = False, denials: DenialLog | None = None) -> CallerVerifier:
        """Accepts local tokens, those of the hub, and API keys."""
        return callers_of((TOKENS, HUB), self.fold, lenient=lenient, denials=denials)

    def tell(self, record: TenantsRecord | None, kind: Kind, *ids: str) -> None:
        """The next record of the log; None forgets."""
        value = record.model_dump_json(by_alias=True).encode() if record else None
        key = tenants_key(kind, *ids)
        self.fold.take_all([LogRecord(TENANTS.name, 0, self.fold.version + 1, 0, key, value)])

    def tenant(self, tenant_id: str = "acme", **facts: Any) -> None:
        """Say what a tenant is now."""
        said = {"tier": Tier.PRO, "status": TenantStatus.ACTIVE, "entitled_until_ns": UNTIL_NS, "version": 1}
        self.tell(TenantRecord(tenant_id=tenant_id, **{**said, **facts}), Kind.TENANT, tenant_id)

    def user(self, user_id: str = "alice", tenant_id: str = "acme", **facts: Any) -> None:
        """Say what a user is now."""
        self.tell(UserRecord(tenant_id=tenant_id, user_id=user_id, **facts), Kind.USER, tenant_id, user_id)

    def disabled(self, user_id: str) -> str:
        """A user who may not come in."""
        self.user(user_id, enabled=False)
        return user_id

    def end(self, session_id: str = SESSION) -> None:
        """End a session."""
        self.tell(EndedSession(session_id=session_id, until_ns=UNTIL_NS), Kind.SESSION, session_id)

    def signing_key(self, kid: str, **change: str) -> None:
        """Announce a key."""
        private = self.keys[kid] = Ed25519PrivateKey.generate()
        jwk = jwk_of(private) | change
        self.tell(SigningKeyRecord(kid=kid, jwk=jwk), Kind.SIGNING_KEY, kid)

    def api_key(self, key_id: str = "k" * 16, *, secret: str = SECRET, **facts: Any) -> str:
        """Announce an API key; its token."""
        said = {
            "tenant_id": "acme",
            "user_id": "alice",
            "roles": ("tenant:trader",),
            "scopes": ("infer", "models:read"),
            "expires_ns": UNTIL_NS,
        }
        record = ApiKeyRecord(
            key_id=key_id, secret_sha256=sha256(secret.encode()).hexdigest(), **{**said, **facts}
        )
        self.tell(record, Kind.API_KEY, key_id)
        return f"hubk_{key_id}_{secret}"

    def token(self, who: Principal | None = None, *, kid: str = "k1", **facts: Any) -> str:
        """A token of a session, as the hub would issue it now."""
        who = who or principal(**{"now_ns": time.time_ns(), **facts})
        who = who.model_copy(update={"session_id": who.session_id or SESSION})
        return mint_of_hub(who, HUB, self.keys[kid], kid=kid, token_id="t", now_ns=time.time_ns(), ttl_s=300)


def jwk_of(private: Ed25519PrivateKey) -> dict[str, str]:
    """The public half."""
    point = base64.urlsafe_b64encode(private.public_key().public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": point, "use": "sig", "alg": "EdDSA"}
