"""Why a socket is closed, as its client is told: a close code and a reason that names where to go on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Code(IntEnum):
    """Close codes of the stream; those above 4000 end like the HTTP status that they resemble."""

    GOING_AWAY = 1001
    FAILED = 1011
    NO_INPUT = 4400
    TOKEN_ENDED = 4401
    NOT_ENTITLED = 4403
    TOO_SLOW = 4408
    SUSPENDED = 4423


_WORDS = {
    Code.GOING_AWAY: "the hub is being redeployed; connect again",
    Code.FAILED: "the hub cannot read the log; connect again later",
    Code.NO_INPUT: "this stream takes no messages",
    Code.TOKEN_ENDED: "the token has ended; connect with a new one",
    Code.NOT_ENTITLED: "the entitlement has ended",
    Code.SUSPENDED: "your tenant is suspended",
    Code.TOO_SLOW: "too slow: what waited for you was more than is kept",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """A close frame; the reason stays below the 123 bytes that the protocol allows."""

    code: Code
    last_sequence: int

    @property
    def reason(self) -> str:
        return f"{_WORDS[self.code]}; last sequence {self.last_sequence}"
