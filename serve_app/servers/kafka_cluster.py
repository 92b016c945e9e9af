"""Apache Kafka as three KRaft nodes on loopback, each broker and controller, replicated as in production.

For tests and benchmarks of faults. It proves what the death of a process costs; it says nothing of power loss
or of three machines' speed, because there is one disk and one set of processors under it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from serve_app.servers.apache_kafka import VERSION, kafka_node, new_cluster_id
from serve_app.servers.ports import LOOPBACK, free_ports
from serve_app.servers.process import ServerProcess

NODES: Final = 3
MIN_IN_SYNC: Final = 2
_HEAP_MB: Final = 320
_START_S: Final = 120.0

# Timings: `docs/reliability.md` says what each costs. With the defaults a dead leader stops all partitions
# for 8 s, because acks=all waits until the dead replica is fenced (9 s) and out of sync (30 s).
PROPERTIES: Final = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{host}:{broker},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=3000
num.replica.fetchers=2
"""


class KafkaCluster:
    """Three nodes that start and end together; single ones may be killed, frozen and restarted between.

    `data` puts a node's log somewhere else than below `directory`, for example on a small disk.
    """

    def __init__(
        self,
        directory: Path,
        *,
        data: Mapping[int, Path] | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        ports = free_ports(2 * NODES)
        self._ports = list(zip(ports[:NODES], ports[NODES:], strict=True))
        self._directory = directory
        self._data = data or {}
        self._progress = progress
        cluster = new_cluster_id()
        with ThreadPoolExecutor(NODES) as formatting:
            made = formatting.map(lambda node: self._node(node, cluster), range(1, NODES + 1))
            self.nodes: dict[int, ServerProcess] = dict(enumerate(made, start=1))

    @property
    def address(self) -> str:
        """The bootstrap servers."""
        return ",".join(node.address for node in self.nodes.values())

    def start(self) -> None:
        """Start the nodes side by side and return when all of them answer; ServerFailed if one does not."""
        try:
            for node in self.nodes.values():
                node.start()
            for node in self.nodes.values():
                self._progress(f"waiting for {node.spec.name} on {node.address}")
                node.wait_ready(_START_S)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every node that still runs. None waits for the others: their data is not used again."""
        for node in self.nodes.values():
            node.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _node(self, node: int, cluster: str) -> ServerProcess:
        home = self._directory / f"kafka-{node}"
        broker, controller = self._ports[node - 1]
        voters = (f"{number}@{LOOPBACK}:{port}" for number, (_, port) in enumerate(self._ports, start=1))
        properties = PROPERTIES.format(
            node=node,
            voters=",".join(voters),
            host=LOOPBACK,
            broker=broker,
            controller=controller,
            data=self._data.get(node, home / "data"),
        )
        self._directory.mkdir(parents=True, exist_ok=True)
        return kafka_node(
            home,
            properties,
            name=f"Apache Kafka {VERSION}, node {node}",
            port=broker,
            log=self._directory / f"kafka-{node}.log",
            cluster=cluster,
            heap_mb=_HEAP_MB,
            progress=self._progress,
        )
