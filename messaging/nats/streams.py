"""The JetStream streams of the market feed: what they keep, for how long, and their creation."""

from __future__ import annotations

from typing import Final

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError

from messaging.subjects import (
    ALL_BARS,
    ALL_TICKS,
    BARS_KEPT,
    BARS_STREAM,
    CLOCK_SUBJECT,
    TICKS_KEPT_S,
    TICKS_STREAM,
)
from models.errors import TopicMismatch

_NAME_IN_USE: Final = 10058


def _stream(name: str, subjects: list[str], storage: StorageType) -> StreamConfig:
    return StreamConfig(
        name=name,
        subjects=subjects,
        storage=storage,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        num_replicas=1,
        allow_direct=True,
    )


def _ticks() -> StreamConfig:
    """Ticks and the clock in one stream, so that one reader sees both in the order they were sent.

    Lost with the server, which is fine: their source still has them, or nobody does.
    """
    config = _stream(TICKS_STREAM, [ALL_TICKS, CLOCK_SUBJECT], StorageType.MEMORY)
    config.max_age = TICKS_KEPT_S  # seconds here; the client makes nanoseconds of it
    return config


def _bars() -> StreamConfig:
    config = _stream(BARS_STREAM, [ALL_BARS], StorageType.FILE)
    config.max_msgs_per_subject = BARS_KEPT
    return config


async def ensure_streams(js: JetStreamContext) -> None:
    """Create the streams that are missing. Raises TopicMismatch if one exists with other settings."""
    for config in (_ticks(), _bars()):
        try:
            await js.add_stream(config)
        except BadRequestError as error:
            if error.err_code != _NAME_IN_USE:
                raise
            raise TopicMismatch(
                f"JetStream stream {config.name} exists with other settings than the hub's;"
                f" compare with `nats stream info {config.name}` and alter or delete it by hand"
            ) from error
