"""Which batches are compressed before they leave."""

from __future__ import annotations

from aiokafka.producer.message_accumulator import BatchBuilder

from messaging.kafka.producer import COMPRESS_FROM, batch_of
from messaging.ports import Record
from messaging.sizes import MAX_BATCH_BYTES

SNAPPY = 2


class Snappy:
    """As much of an AIOKafkaProducer as builds batches."""

    def create_batch(self) -> BatchBuilder:
        """A builder that compresses, as the producer was told."""
        return BatchBuilder(MAX_BATCH_BYTES, SNAPPY)


def built(records: list[Record]) -> int:
    """Bytes of the finished batch."""
    return len(batch_of(Snappy(), records)._build())


def test_many_similar_records_shrink() -> None:
    """The signals of a large slot share most of their bytes."""
    value = bytes(range(250)) * 6
    records = [Record(b"key", value + str(number).encode()) for number in range(100)]
    assert built(records) < len(value) * 100 / 4


def test_a_few_records_stay_as_they_are() -> None:
    """The broker would spend more on unpacking them than the bytes cost."""
    value = b"v" * (COMPRESS_FROM // 4 - 1)
    assert built([Record(b"key", value)] * 4) > len(value) * 4
