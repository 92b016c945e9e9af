"""Names that callers and pools share, so that neither room imports the other."""

from __future__ import annotations


def pool_app(pool: str) -> str:
    """Name of a pool's deployment, and of its Serve application if it has one of its own."""
    return f"pool-{pool}"
