"""Connections that are made to their end, whoever gave up waiting for them.

A connection that is abandoned while it logs in stays open until it is collected as garbage, and PostgreSQL
waits a minute for it to go on: a caller who gives up often enough would use up the server's places.
"""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg


async def connected(*names: Any, **given: Any) -> psycopg.AsyncConnection[Any]:
    """As `psycopg.AsyncConnection.connect`. If it is cancelled, the connection is closed once it is there."""
    connecting = asyncio.ensure_future(psycopg.AsyncConnection.connect(*names, **given))
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        connecting.add_done_callback(_close)
        raise


def _close(connecting: asyncio.Future[psycopg.AsyncConnection[Any]]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().pgconn.finish()
