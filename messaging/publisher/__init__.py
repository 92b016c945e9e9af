"""Publishing records that need no claim (user events, subscriptions, halts), each by its own deadline.

    publisher = await Publisher.open(bus, name="gateway", meter=meter)
    offset = await publisher.publish("acme", Place("user.auth", 3), record, timeout_s=5.0)

Three outcomes, as of `Producer.append`: the offset, AppendRefused (nothing was written, nor will be) and
AppendUnknown. Read `publisher.py`, then `lane.py`, which owns the concurrency; `queues.py` and `pace.py`
decide and do no I/O.
"""

from messaging.publisher.lane import LaneHealth
from messaging.publisher.publisher import Publisher, PublisherConfig
from messaging.publisher.queues import Place, QueueLimits

__all__ = ["LaneHealth", "Place", "Publisher", "PublisherConfig", "QueueLimits"]
