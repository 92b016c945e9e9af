"""Users for a playback without a control plane: nobody asks who they are."""

from __future__ import annotations

from models.principal import Tier
from serve_app.demo.tenants import DemoUser


def made_up_users(count: int) -> list[DemoUser]:
    """So many, over three tenants and tiers in turn."""
    tiers = (Tier.FREE, Tier.PRO, Tier.ENTERPRISE)
    return [
        DemoUser(f"user-{number:05d}", f"tenant-{number % 3 + 1}", tiers[number % 3])
        for number in range(1, count + 1)
    ]
