"""The `MarketFeed` on NATS JetStream. `docs/nats-tick-contract.md` is what foreign publishers need to know.

Read `feed.py` first; `follower.py` for reading a stream in order without loss, `codec.py` for the payloads.
"""

from messaging.nats.broadcast import NatsBroadcast
from messaging.nats.feed import NatsFeed

__all__ = ["NatsBroadcast", "NatsFeed"]
