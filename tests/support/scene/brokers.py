"""One broker or three, asked for leaders and copies through librdkafka, which bears dead brokers well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from messaging.topics import SIGNALS
from serve_app.servers.apache_kafka import apache_kafka
from serve_app.servers.kafka_cluster import KafkaCluster
from serve_app.servers.process import ServerProcess

ASK_S = 2.0


class Brokers:
    """The nodes by number. Blocks: call it in a thread where an event loop must go on."""

    def __init__(self, directory: Path, *, count: int, data: Mapping[int, Path] | None = None) -> None:
        assert count in {1, 3}
        self._cluster = KafkaCluster(directory, data=data) if count == 3 else None
        self.nodes: dict[int, ServerProcess]
        if self._cluster:
            self.nodes = self._cluster.brokers
        else:
            self.nodes = {1: apache_kafka(directory, data=(data or {}).get(1))}
        self._admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    @property
    def address(self) -> str:
        return ",".join(node.address for node in self.nodes.values())

    @property
    def replication(self) -> int:
        return len(self.nodes)

    def start(self) -> None:
        if self._cluster:
            self._cluster.start()
        else:
            self.nodes[1].start()
            self.nodes[1].wait_ready()

    def stop(self) -> None:
        if self._cluster:
            self._cluster.stop()
        else:
            self.nodes[1].kill()

    def busiest(self) -> ServerProcess | None:
        """The node that leads most partitions of `user.signals`; None while nobody tells."""
        try:
            leaders = Counter(one.leader for one in self._partitions(SIGNALS.name).values() if one.leader > 0)
        except KafkaException:
            return None
        return self.nodes[leaders.most_common(1)[0][0]] if leaders else None

    def whole(self) -> bool:
        """Whether every node has every record of `user.signals`, and every partition a leader."""
        try:
            partitions = self._partitions(SIGNALS.name).values()
        except KafkaException:
            return False
        return all(one.leader > 0 and len(one.isrs) == len(self.nodes) for one in partitions)

    def _partitions(self, topic: str) -> dict[int, Any]:
        found: dict[int, Any] = self._admin.list_topics(topic, timeout=ASK_S).topics[topic].partitions
        return found
