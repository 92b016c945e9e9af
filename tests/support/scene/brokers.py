"""One broker or three, asked for leaders and copies through librdkafka, which bears dead brokers well."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, PartitionMetadata

from messaging.topics import SIGNALS
from serve_app.servers.apache_kafka import apache_kafka
from serve_app.servers.kafka_cluster import KafkaCluster
from serve_app.servers.process import ServerProcess

ASK_S = 2.0
START_S = 120.0


class Brokers:
    """The nodes by number. Blocks: call it in a thread where an event loop must go on."""

    def __init__(self, directory: Path, *, count: int, data: Mapping[int, Path] | None = None) -> None:
        assert count in {1, 3}
        self.nodes: dict[int, ServerProcess]
        if count == 3:
            self.nodes = KafkaCluster(directory, data=data).nodes
        else:
            self.nodes = {1: apache_kafka(directory)}
        self._admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    @property
    def address(self) -> str:
        return ",".join(node.address for node in self.nodes.values())

    @property
    def replication(self) -> int:
        return len(self.nodes)

    def start(self) -> None:
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            node.wait_ready(START_S)

    def stop(self) -> None:
        for node in self.nodes.values():
            node.kill()

    def leader(self, partition: int = 0, topic: str = SIGNALS.name) -> int:
        """The number of the node that leads a partition; -1 for none."""
        return self._partitions(topic)[partition].leader

    def whole(self) -> bool:
        """Whether every node has every record of `user.signals`, and every partition a leader."""
        try:
            partitions = self._partitions(SIGNALS.name).values()
        except KafkaException:
            return False
        return all(one.leader > 0 and len(one.isrs) == len(self.nodes) for one in partitions)

    def _partitions(self, topic: str) -> dict[int, PartitionMetadata]:
        found: dict[int, PartitionMetadata] = (
            self._admin.list_topics(topic, timeout=ASK_S).topics[topic].partitions
        )
        return found
