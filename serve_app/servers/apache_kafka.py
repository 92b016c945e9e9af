"""Apache Kafka as one KRaft node: broker and controller in one Java process, from the project's own jars.

Maven fetches the jars once (ops/kafka/pom.xml) into a cache shared by all checkouts of this user.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from models.errors import ConfigError
from serve_app.servers.ports import LOOPBACK, free_ports
from serve_app.servers.probes import kafka_has_broker
from serve_app.servers.process import ServerFailed, ServerProcess, ServerSpec

VERSION = "4.1.1"
JAVA_NEEDED = 17
FETCH_TIMEOUT_S = 300
FORMAT_TIMEOUT_S = 60
COLLECTOR = ("-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:-UsePerfData")
JVM = ("-Xms256m", "-Xmx512m", *COLLECTOR)
"""Room for what a developer's machine asks of it."""
DEFAULT_JVM = ("-Xms1g", "-Xmx1g", "-XX:InitiatingHeapOccupancyPercent=35", *COLLECTOR)
"""What Kafka's own start script gives it."""
POM = Path(__file__).parents[2] / "ops" / "kafka" / "pom.xml"

# One node keeps every copy, groups start without waiting for more members, no topic appears by a typing
# error, and after a kill the node's own old session (9 s by default) does not keep it out for long.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{broker},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
"""


def apache_kafka(
    directory: Path,
    *,
    data: Path | None = None,
    jvm: tuple[str, ...] = JVM,
    progress: Callable[[str], None] = lambda _: None,
) -> ServerProcess:
    """A formatted broker, not yet started; its log, in `data` if given, survives a kill. The first call
    fetches the jars.

    Raises:
        ConfigError: Java 17+ or, for the first time, Maven is missing, or the jars cannot be fetched.
    """
    home = directory / "kafka"
    broker, controller = free_ports(2)
    data = data or home / "data"
    properties = PROPERTIES.format(host=LOOPBACK, broker=broker, controller=controller, data=data)
    node = KafkaNode(f"Apache Kafka {VERSION}", home, directory / "kafka.log", broker, properties, jvm=jvm)
    return kafka_node(node, cluster=new_cluster_id(), progress=progress)


@dataclass(frozen=True)
class KafkaNode:
    """One Java process: `home` is its directory, `port` where `is_ready` asks it."""

    name: str
    home: Path
    log: Path
    port: int
    properties: str
    is_ready: Callable[[int], bool] = kafka_has_broker
    jvm: tuple[str, ...] = JVM


def kafka_node(
    node: KafkaNode, *, cluster: str, progress: Callable[[str], None] = lambda _: None
) -> ServerProcess:
    """The node with its data formatted for the cluster, not yet started; ConfigError as of `apache_kafka`."""
    java = find_java()
    classpath = f"{ensure_jars(progress=progress)}/*"
    node.home.mkdir(parents=True, exist_ok=True)
    file = node.home / "server.properties"
    file.write_text(node.properties)
    _format(java, classpath, file, log=node.log, cluster=cluster)
    spec = ServerSpec(
        name=node.name,
        address=f"{LOOPBACK}:{node.port}",
        command=(java, *node.jvm, "-Dlog4j2.level=WARN", "-cp", classpath, "kafka.Kafka", str(file)),
        log=node.log,
        is_ready=partial(node.is_ready, node.port),
    )
    return ServerProcess(spec)


def new_cluster_id() -> str:
    """An id as Kafka's own tool makes one."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")


def missing_reason() -> str | None:
    """Why Apache Kafka cannot run here, for a person; None if it can."""
    try:
        find_java()
    except ConfigError as error:
        return error.message
    if not _jars().is_dir() and shutil.which("mvn") is None:
        return f"Maven is needed once to fetch Apache Kafka {VERSION}: install `mvn`"
    return None


def find_java() -> str:
    """The Java program of JAVA_HOME or the search path.

    Raises:
        ConfigError: there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    version = _java_version(java) if java else None
    if java is None or version is None:
        raise ConfigError(f"Apache Kafka needs Java {JAVA_NEEDED} or newer: none found in JAVA_HOME or PATH")
    if version < JAVA_NEEDED:
        raise ConfigError(f"Apache Kafka needs Java {JAVA_NEEDED} or newer: {java} is {version}")
    return java


def ensure_jars(*, progress: Callable[[str], None] = lambda _: None) -> Path:
    """The directory of Kafka's jars, fetched with checked sums if it is not there yet.

    Raises:
        ConfigError: Maven is missing or failed.
    """
    jars = _jars()
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise ConfigError(f"Maven is needed once to fetch Apache Kafka {VERSION}: install `mvn`")
    progress(f"fetching Apache Kafka {VERSION} (43 MB, once)")
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent) as scratch:
        fetched = Path(scratch, "jars")
        _fetch(maven, fetched)
        if not jars.is_dir():  # somebody else may have been faster
            fetched.rename(jars)
    return jars


def _jars() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "central-hub" / f"kafka-{VERSION}"


def _fetch(maven: str, target: Path) -> None:
    goal = ("dependency:copy-dependencies", f"-DoutputDirectory={target}", "-DincludeScope=runtime")
    command = (maven, "-B", "-q", "--strict-checksums", "-f", str(POM), *goal)
    result = _run(command, timeout_s=FETCH_TIMEOUT_S)
    if result.returncode != 0:
        raise ConfigError(f"Maven could not fetch Apache Kafka {VERSION}:\n{result.stdout[-2000:]}")


def _java_version(java: str) -> int | None:
    try:
        text = _run((java, "-version"), timeout_s=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(\d+)', text)
    return int(found.group(1)) if found else None


def _format(java: str, classpath: str, properties: Path, *, log: Path, cluster: str) -> None:
    tool = ("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties))
    command = (java, "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN", "-cp", classpath, *tool)
    result = _run(command, timeout_s=FORMAT_TIMEOUT_S)
    log.write_text(result.stdout)
    if result.returncode != 0:
        raise ServerFailed(f"Apache Kafka's data directory could not be formatted:\n{result.stdout[-2000:]}")


def _run(command: tuple[str, ...], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - the command is ours, nothing of it is input
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
