"""Connections of tasks that were cancelled while they logged in."""

from __future__ import annotations

import gc
import warnings


def close_sockets() -> None:
    """As a kernel does for who was killed while it logged in: else the server waits for it for a minute."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
