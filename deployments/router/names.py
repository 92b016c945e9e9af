"""Names that callers and pools share, so that neither room imports the other."""

from __future__ import annotations

from typing import Final

LOCAL_POOL: Final = "local"
"""The pool inside the caller; no Serve application is called so."""
ENSEMBLE_POOL: Final = "ensemble"
"""Ensembles, which every caller makes of its own calls to their members; no Serve application either."""


def pool_app(pool: str) -> str:
    """Name of a pool's deployment, and of its Serve application if it has one of its own."""
    return f"pool-{pool}"
