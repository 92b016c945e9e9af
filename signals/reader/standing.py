"""What a reader does with a record, and whether it has any standing: was its writer the owner then?"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from pydantic import ValidationError

Series = tuple[str, str, int]
"""Strategy, symbol, horizon: within a series bar closes only grow."""


class Verdict(StrEnum):
    """What a reader does with a record: acts on `accepted`, drops and counts all others but `control`."""

    ACCEPTED = "accepted"
    CONTROL = "control"
    VOID = "void"
    REPEATED = "repeated"
    OUT_OF_ORDER = "out_of_order"
    EXPIRED = "expired"
    MISADDRESSED = "misaddressed"
    FORGED = "forged"
    UNDECODABLE = "undecodable"


class EpochRule(Protocol):
    """What a reader needs of `messaging.claims.EpochFilter`."""

    def saw_claim(self, offset: int) -> None: ...

    def valid(self, *, epoch: int, offset: int) -> bool: ...


def standing(epochs: EpochRule, epoch: int, offset: int) -> tuple[Verdict, str] | None:
    """Why a record has no standing in its partition, None if it has."""
    if not 0 <= epoch < offset:
        return Verdict.FORGED, f"epoch {epoch} is no offset before {offset}"
    if not epochs.valid(epoch=epoch, offset=offset):
        return Verdict.VOID, f"a claim lies between epoch {epoch} and offset {offset}"
    return None


def first_wrong(error: ValidationError) -> str:
    """Where and what of the first thing that is wrong."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']}"
