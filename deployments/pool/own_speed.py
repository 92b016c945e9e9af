"""How fast a model is on this machine: the registry measured its card on another one."""

from __future__ import annotations

from typing import Final

from deployments.router.execution.ordinary import ordinary_row
from inference.session import Session
from inference.warm import BRIEF, warm_profile
from models.card import ModelCard, WarmProfile

_QUICK_MS: Final = 2.0
_ALIKE: Final = 1.5
"""A brief measurement differs by less from a thorough one of the same machine."""


def own_profile(session: Session) -> tuple[WarmProfile, ...]:
    """The card's warm profile; where a few milliseconds of work here differ from it beyond chance, the card's
    times that ratio. Blocks. Raises what the model raises.
    """
    card, size = session.card, _size(session.card)
    (here,) = warm_profile(session, ordinary_row(card), effort=BRIEF, sizes=(size,))
    by_rows = {profile.rows: profile.p50_ms for profile in card.warm}
    if not by_rows.get(size):
        return (here,)
    ratio = here.p50_ms / by_rows[size]
    if 1 / _ALIKE <= ratio <= _ALIKE:
        return card.warm
    return tuple(_scaled(profile, ratio, here.n) for profile in card.warm)


def _size(card: ModelCard) -> int:
    """The most rows that are run quickly, by the card: fewer tell more of the way to the model than of it."""
    quick = [profile.rows for profile in card.warm if profile.p50_ms <= _QUICK_MS]
    return max(quick, default=1)


def _scaled(profile: WarmProfile, ratio: float, n: int) -> WarmProfile:
    return WarmProfile(rows=profile.rows, p50_ms=profile.p50_ms * ratio, p99_ms=profile.p99_ms * ratio, n=n)
