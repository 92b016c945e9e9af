"""librdkafka's mock cluster, out of the confluent-kafka wheel: real sockets in this process, faults to order.

Faithful for what a producer sees: metadata, idempotent producers, produce errors, round trips, leaders. It
checks no sequences and keeps nothing on disk.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import files
from typing import Any, Final

from messaging.config import KafkaConfig

_PRODUCER: Final = 0
_PRODUCE: Final = 0
"""Kafka's number of the produce request."""


class MockKafka:
    """A cluster of brokers numbered from 1."""

    def __init__(self, library: Any, cluster: int) -> None:
        self._library = library
        self._cluster = ctypes.c_void_p(cluster)

    @property
    def bootstrap(self) -> str:
        """`host:port` of every broker."""
        library = self._library
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        addresses: bytes = library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return addresses.decode()

    def config(self, **options: Any) -> KafkaConfig:
        """How to reach it."""
        return KafkaConfig(bootstrap=self.bootstrap, **options)

    def create_topic(self, name: str, *, partitions: int) -> None:
        """A topic with one replica, its partitions spread over the brokers."""
        self._checked(self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1))

    def fail_produce(self, codes: Sequence[int]) -> None:
        """Answer the next produce requests with these error codes, one each."""
        array = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(_PRODUCE), ctypes.c_size_t(len(codes)), array
        )

    def heal_produce(self) -> None:
        """Forget the error codes that were not used."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, ctypes.c_int16(_PRODUCE))

    def set_round_trip(self, broker: int, milliseconds: int) -> None:
        """Answer every request of a broker so much later."""
        self._checked(self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, milliseconds))

    def set_leader(self, topic: str, partition: int, broker: int | None) -> None:
        """Give a partition another leader, or none."""
        leader = -1 if broker is None else broker
        self._checked(
            self._library.rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), partition, leader)
        )

    @staticmethod
    def _checked(code: int) -> None:
        if code:
            raise RuntimeError(f"the mock cluster refused: librdkafka error {code}")


@contextmanager
def mock_kafka(brokers: int = 1) -> Iterator[MockKafka]:
    """A cluster for the time of the block."""
    library = _library()
    error = ctypes.create_string_buffer(512)
    quiet = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(quiet, b"log_level", b"2", error, ctypes.c_size_t(len(error)))
    handle = library.rd_kafka_new(_PRODUCER, quiet, error, len(error))
    if not handle:
        raise RuntimeError(f"librdkafka: {error.value.decode()}")
    cluster = library.rd_kafka_mock_cluster_new(ctypes.c_void_p(handle), brokers)
    try:
        yield MockKafka(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(ctypes.c_void_p(cluster))
        library.rd_kafka_destroy(ctypes.c_void_p(handle))


def _library() -> Any:
    """The library inside the wheel, with the types of what returns a pointer."""
    shipped = [file for file in files("confluent-kafka") or () if "/librdkafka" in str(file)]
    library = ctypes.CDLL(str(shipped[0].locate()))
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_new.restype = ctypes.c_void_p
    library.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    return library
