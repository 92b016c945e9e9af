"""Pages of long lists: from behind a name, so many at a time."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

After = Annotated[
    str, Query(max_length=128, description="Begin behind this one: the `next` of the last page")
]
Most = Annotated[int, Query(ge=1, le=500, description="How many at most")]


def following(names: list[str], most: int) -> str | None:
    """Where the next page begins; None if this was the last."""
    return names[-1] if len(names) == most else None
