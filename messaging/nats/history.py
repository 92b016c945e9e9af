"""Where in the ticks stream a moment of market time is."""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from messaging.nats.codec import decode_clock
from messaging.subjects import CLOCK_SUBJECT, TICKS_STREAM
from models.errors import BadValue
from models.market import MarketClock


async def sequence_before(js: JetStreamContext, since_ms: int | None) -> int:
    """A stream sequence up to which the latest session has no tick of market time `since_ms` or later; None
    stands for now.

    Bisects over the clock messages, each of which says that every tick up to its time was sent before it:
    about 16 requests for ten minutes of ticks, where reading them all takes a second. Market time may begin
    anew with a session; then the answer may lie in an earlier one, which only means more to read.
    """
    state = (await js.stream_info(TICKS_STREAM)).state
    if since_ms is None:
        return state.last_seq
    low, high = max(state.first_seq - 1, 0), state.last_seq
    while low < high:
        middle = (low + high + 1) // 2
        sequence, clock = await _clock_from(js, middle)
        if clock is not None and clock.now_ms < since_ms:
            low = sequence
        else:
            high = middle - 1
    return low


async def _clock_from(js: JetStreamContext, sequence: int) -> tuple[int, MarketClock | None]:
    """The first clock message at or after a stream sequence, and where it is."""
    try:
        found = await js.get_msg(TICKS_STREAM, seq=sequence, subject=CLOCK_SUBJECT, next=True, direct=True)
        return found.seq or sequence, decode_clock(found.data or b"")
    except (NotFoundError, BadValue):
        return sequence, None
