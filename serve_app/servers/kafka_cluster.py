"""Apache Kafka as three KRaft brokers and a controller on loopback, replicated as in production.

For tests and benchmarks of faults. It proves what the death of a process costs; it says nothing of power loss
or of three machines' speed, because there is one disk and one set of processors under it. The controller is a
process of its own, so that the death of a broker is that and no election of controllers besides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from serve_app.servers.apache_kafka import VERSION, KafkaNode, kafka_node, new_cluster_id
from serve_app.servers.ports import LOOPBACK, free_ports
from serve_app.servers.probes import accepts, kafka_has_broker
from serve_app.servers.process import ServerProcess

BROKERS: Final = (1, 2, 3)
_CONTROLLER: Final = 100
_START_S: Final = 120.0
_JVM: Final = ("-Xms128m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
"""Small, and quick to be there again: what the better compiler would save, its work costs a short life."""

_COMMON: Final = """\
node.id={node}
controller.quorum.voters={controller}@{host}:{controller_port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
default.replication.factor=3
min.insync.replicas=2
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=500
"""
# With Kafka's defaults a dead leader stops all partitions for 8 s: acks=all waits until the controller has
# given the dead broker up (9 s without a heartbeat) or its copies have (30 s behind).
_BROKER: Final = """\
process.roles=broker
listeners=PLAINTEXT://{host}:{port}
auto.create.topics.enable=false
offsets.topic.replication.factor=3
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
group.initial.rebalance.delay.ms=0
replica.lag.time.max.ms=3000
num.replica.fetchers=2
"""
_ALONE: Final = """\
process.roles=controller
listeners=CONTROLLER://{host}:{port}
"""


class KafkaCluster:
    """Nodes that start and end together; single brokers may be killed, frozen and restarted between.

    `data` puts a broker's log somewhere else than below `directory`, for example on a small disk.
    """

    def __init__(
        self,
        directory: Path,
        *,
        data: Mapping[int, Path] | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._data = data or {}
        self._progress = progress
        self._cluster = new_cluster_id()
        numbers = (_CONTROLLER, *BROKERS)
        self._ports = dict(zip(numbers, free_ports(len(numbers)), strict=True))
        with ThreadPoolExecutor(len(numbers)) as formatting:
            self.controller, *brokers = formatting.map(self._node, numbers)
        self.brokers: dict[int, ServerProcess] = dict(zip(BROKERS, brokers, strict=True))

    @property
    def address(self) -> str:
        """The bootstrap servers."""
        return ",".join(broker.address for broker in self.brokers.values())

    def start(self) -> None:
        """Start the nodes side by side and return when all of them answer; ServerFailed if one does not."""
        nodes = (self.controller, *self.brokers.values())
        try:
            for node in nodes:
                node.start()
            for node in nodes:
                self._progress(f"waiting for {node.spec.name} on {node.address}")
                node.wait_ready(_START_S)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill every node that still runs; politeness would take longer, and the data has done its duty."""
        for node in (*self.brokers.values(), self.controller):
            node.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _node(self, number: int) -> ServerProcess:
        name = "controller" if number == _CONTROLLER else f"broker {number}"
        home, port = self._directory / f"kafka-{number}", self._ports[number]
        text = _COMMON + (_ALONE if number == _CONTROLLER else _BROKER)
        properties = text.format(
            node=number,
            host=LOOPBACK,
            port=port,
            controller=_CONTROLLER,
            controller_port=self._ports[_CONTROLLER],
            data=self._data.get(number, home / "data"),
        )
        node = KafkaNode(
            name=f"Apache Kafka {VERSION}, {name}",
            home=home,
            log=self._directory / f"kafka-{number}.log",
            port=port,
            properties=properties,
            is_ready=accepts if number == _CONTROLLER else kafka_has_broker,
            jvm=_JVM,
        )
        return kafka_node(node, cluster=self._cluster, progress=self._progress)
