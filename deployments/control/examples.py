"""An example of every body that the control plane takes, by operation: `/docs` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - an example that everybody knows
_CONFIG: Final = {"config": {"risk.scale": 0.5, "features.stream": False}, "comment": "calmer in August"}
_ROLLBACK: Final = {"to": 3, "comment": "as it was before the holidays"}
_TEMPLATE: Final = {"template": "conservative", "comment": "a new customer"}

EXAMPLES: Final[Mapping[str, Any]] = {
    "accept_invitation": {
        "token": "hinv.harbour.i-31ef1c91669394f19add5680.the-secret-that-was-shown-once",
        "name": "Olga Petrova",
        "email": "olga@harbour.example",
        "password": _PASSWORD,
    },
    "login": {"tenant": "harbour", "login": "olga", "password": _PASSWORD, "client": "laptop"},
    "refresh": {"refresh_token": "hrt.harbour.s-5f0c9a1e.4.the-secret-of-this-generation"},
    "logout": {"refresh_token": "hrt.harbour.s-5f0c9a1e.4.the-secret-of-this-generation"},
    "change_password": {"password": _PASSWORD, "new_password": "staple battery horse correct"},
    "provision": {
        "tenant_id": "harbour",
        "name": "Harbour Capital",
        "tier": "pro",
        "owner": {"login": "olga", "name": "Olga Petrova", "email": "olga@harbour.example"},
        "template": "conservative",
    },
    "change_tenant": {"tier": "enterprise"},
    "suspend": {"reason": "the invoice of October is open"},
    "add_user": {"login": "tom", "name": "Tom Berg", "roles": ["tenant:trader"], "password": _PASSWORD},
    "add_users": {"users": [{"login": "bot-1", "name": "First bot", "roles": ["tenant:service"]}]},
    "change_user": {"roles": ["tenant:viewer"], "enabled": True},
    "change_me": {"name": "Tom Berg", "profile": {"zone": "Europe/Berlin", "theme": "dark"}},
    "invite": {"login": "tom", "roles": ["tenant:trader"]},
    "check_resources": {"requirements": {"concurrent_inferences": 2}},
    "allocate": {"requirements": {"concurrent_inferences": 2}, "ttl_s": 60, "lease_id": "batch-17"},
    "renew": {"ttl_s": 60},
    "put_config": _CONFIG,
    "change_config": _CONFIG,
    "roll_config_back": _ROLLBACK,
    "apply_config_template": _TEMPLATE,
    "put_user_config": _CONFIG,
    "change_user_config": _CONFIG,
    "roll_user_config_back": _ROLLBACK,
    "apply_user_config_template": _TEMPLATE,
    "put_platform_config": _CONFIG,
    "create_api_key": {"name": "research bot", "scopes": ["infer", "models:read"], "days": 30},
}
