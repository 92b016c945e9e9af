"""Tenants with a config of ordinary size, as `hub.tenants` says it, for `tenant_config.py`."""

from __future__ import annotations

from random import Random
from typing import Any

from deployments.front.limits import load_tiers
from models.principal import Tier
from tests.support.control import TIERS
from tests.support.known_tenants import KnownTenants


def tenants(count: int) -> KnownTenants:
    """`t0`, `t1`, ...: eight values of each tenant's own, three of its user `u-<n>`, under three layers."""
    known, rng = KnownTenants(load_tiers(TIERS)), Random(7)
    known.layer("global", {"notifications.digest": "weekly"})
    known.layer("environment.test", {"features.experiments": {"percent": 20}})
    known.layer("tier.pro", {"risk.max_exposure": 20})
    for number in range(count):
        known.tenant(f"t{number}", tier=Tier.PRO, config=_own(number, rng), config_version=1)
        known.user(f"t{number}", f"u-{number}", {"risk.scale": 0.1, "mt5.login": f"{number}"})
    return known


def _own(number: int, rng: Random) -> dict[str, Any]:
    return {
        "limits.tenant_rate": "5000/hour",
        "limits.sockets": 20,
        "risk.scale": rng.choice((0.5, 0.8)),
        "risk.max_fraction": 0.2,
        "features.ensembles": False,
        "notifications.email": f"desk@t{number}.example.com",
        "branding.display_name": f"Tenant {number}",
        "mt5.password": {"secret": True, "set": True},
    }
