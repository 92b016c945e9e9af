"""Names that callers and pools share, so that neither room imports the other."""

from __future__ import annotations

from typing import Final

INFERENCE_REPLICA: Final = "InferenceReplica"
"""The deployment inside every pool's application."""


def pool_app(pool: str) -> str:
    """Name of a pool's Serve application."""
    return f"pool-{pool}"
