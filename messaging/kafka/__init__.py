"""The `EventBus` on Apache Kafka and brokers that speak its protocol, through aiokafka.

Read `bus.py` first; `producer.py` for the three outcomes of an append, `reader.py` for bounded reads and
tails, `membership.py` for the group protocol. aiokafka's private parts are touched in `hard_close.py` only.
"""

from messaging.kafka.bus import KafkaBus

__all__ = ["KafkaBus"]
