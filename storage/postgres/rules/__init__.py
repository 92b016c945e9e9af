"""What must hold for the boundary to be closed: questions to the catalogue, and what the rows mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Hole(NamedTuple):
    """Where the boundary is open, and the SQL that closes it."""

    what: str
    closes: str


class Rule(NamedTuple):
    """`query` is asked as the role that is looked at, with `:schema`, `:owner` and `:platform` where it names
    them; `holes` judges a row of the answer.
    """

    query: str
    holes: Callable[[Any], Iterator[Hole]]
