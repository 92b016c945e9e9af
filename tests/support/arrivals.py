"""When the calls of a load are due: by a pace of its own, whatever became of the calls before.

The one place where tests sleep on purpose: an open load is defined by its clock, and nothing is waited for.
"""

from __future__ import annotations

import asyncio
from random import Random


async def next_arrival(per_s: float, rng: Random | None = None) -> None:
    """Returns when the next of `per_s` calls a second is due: evenly, or as Poisson arrivals."""
    await asyncio.sleep(rng.expovariate(per_s) if rng else 1.0 / per_s)
