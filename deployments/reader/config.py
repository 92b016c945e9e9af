"""How a reader behaves; every number has a reason to be what it is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from messaging.topics import SIGNALS
from models.base import Frozen


class Start(StrEnum):
    """Where a reader begins in a partition of which its store knows nothing."""

    EARLIEST = "earliest"
    LATEST = "latest"


class ReaderConfig(Frozen):
    """`partitions` is how many the topic has, by which users are placed. `parallel` accounts of a partition
    are acted for at once; of one account, one signal at a time.

    `act_timeout_s` bounds one try of the service's act, `patience_s` all tries of it for one signal: while it
    lasts the partition's other users wait. A partition with `waiting` records is held at the broker.
    `turn_s` is how long the follower may be deaf to a change, `stop_s` what an end waits for what was begun.
    `clock_error_ns` is how wrong this process's clock may be; it adds to the signal's own. A signal generated
    further than `future_ns` ahead of this clock is not acted on, because one of the clocks is wrong.
    """

    partitions: Annotated[int, Field(gt=0)] = SIGNALS.partitions
    start: Start = Start.EARLIEST
    parallel: Annotated[int, Field(gt=0)] = 64
    act_timeout_s: Annotated[float, Field(gt=0)] = 0.5
    patience_s: Annotated[float, Field(gt=0)] = 2.0
    retry_s: Annotated[float, Field(gt=0)] = 0.05
    waiting: Annotated[int, Field(gt=0)] = 2_000
    chunk: Annotated[int, Field(gt=0)] = 500
    turn_s: Annotated[float, Field(gt=0)] = 0.2
    stop_s: Annotated[float, Field(gt=0)] = 5.0
    clock_error_ns: Annotated[int, Field(ge=0)] = 0
    future_ns: Annotated[int, Field(gt=0)] = 2_000_000_000
    dead_letter_timeout_s: Annotated[float, Field(gt=0)] = 1.0
    dead_letter_attempts: Annotated[int, Field(gt=0)] = 3
