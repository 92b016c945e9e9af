"""The same for a service in any language: librdkafka and SQLite, nothing of the hub's code.

It follows `docs/reading-signals.md` step by step; the numbers below are the rules there. Subscribe first
(`hub subscribe patient@1 EURUSD --user anna`), then:

    python examples/foreign_reader/reader.py --kafka 127.0.0.1:9092 --users anna ben --file foreign.sqlite
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

TOPIC, SCHEMA = "user.signals", "hub.signal/1"
TABLES = """
CREATE TABLE IF NOT EXISTS places (partition INTEGER PRIMARY KEY, position INTEGER, claim INTEGER);
CREATE TABLE IF NOT EXISTS numbers (user_id TEXT PRIMARY KEY, sequence INTEGER);
CREATE TABLE IF NOT EXISTS closes (series TEXT PRIMARY KEY, bar_close_ms INTEGER);
CREATE TABLE IF NOT EXISTS effects (
  id INTEGER PRIMARY KEY, partition INTEGER, offset INTEGER, user_id TEXT, account_id TEXT,
  sequence INTEGER, delivery_id TEXT UNIQUE, outcome TEXT, at_ns INTEGER, target REAL
);
"""


class ForeignReader:
    """Keeps its place in the log beside its effects (rule 9): Kafka's own offsets are never used."""

    def __init__(self, file: str, users: set[str]) -> None:
        self.users = users
        self.database = sqlite3.connect(file, isolation_level=None)
        self.database.executescript(TABLES)

    def assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Go on where the store is: it alone knows what had its effect."""
        for place in partitions:
            row = self._one("SELECT position FROM places WHERE partition = ?", place.partition)
            place.offset = row[0] if row else 0  # from the beginning, so that all claims are known
        consumer.assign(partitions)

    def take(self, messages: list[Message]) -> None:
        """Some records: their effects and the new places in one transaction."""
        self.database.execute("BEGIN IMMEDIATE")
        for message in messages:
            partition, offset = message.partition(), message.offset()
            if message.error() is None and partition is not None and offset is not None:
                self._record((partition, offset), bytes(message.key() or b""), message.value())
        self.database.execute("COMMIT")

    def _record(self, place: tuple[int, int], key: bytes, value: Any) -> None:
        row = self._one("SELECT position, claim FROM places WHERE partition = ?", place[0])
        position, claim = row or (0, -1)
        if place[1] < position:  # another process was here before us
            return
        if key == b"~claim":  # 1: from here on the writer of this claim is the only one
            claim = place[1]
        elif not key.startswith(b"~"):
            self._signal(place, key, value, claim)
        self.database.execute(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?)", (place[0], place[1] + 1, claim)
        )

    def _signal(self, place: tuple[int, int], key: bytes, value: Any, claim: int) -> None:
        try:
            signal = json.loads(value)
            schema, user = signal["schema"], signal["user_id"]
        except (ValueError, KeyError, TypeError):
            return print(f"poison at {place}: not a signal")
        if not claim <= signal["epoch"] < place[1]:  # 2: written by an owner who had been replaced
            return None
        if schema != SCHEMA or user.encode() != key:  # 3, 4
            return print(f"poison at {place}: {schema} of {user} under {key!r}")
        (last,) = self._one("SELECT sequence FROM numbers WHERE user_id = ?", user) or (None,)
        series = json.dumps(
            [user, signal["account_id"], signal["strategy"], signal["symbol"], signal["horizon_ms"]]
        )
        (close,) = self._one("SELECT bar_close_ms FROM closes WHERE series = ?", series) or (-1,)
        if last is not None and signal["sequence"] <= last:  # 5: repeated, or out of order
            return None
        self.database.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", (user, signal["sequence"]))
        if signal["bar_close_ms"] <= close:  # 6: the same slot under a fresh number
            return None
        self.database.execute("INSERT OR REPLACE INTO closes VALUES (?, ?)", (series, signal["bar_close_ms"]))
        if last is not None and signal["sequence"] > last + 1:  # 7
            print(f"gap: {user} has {signal['sequence']} after {last}")
        return self._effect(place, signal) if user in self.users else None

    def _effect(self, place: tuple[int, int], signal: dict[str, Any]) -> None:
        now_ns = time.time_ns()
        outcome = "acted" if now_ns + signal["clock_error_ns"] < signal["expires_ns"] else "expired"  # 8
        print(
            f"{signal['user_id']} #{signal['sequence']} {signal['symbol']} {signal['kind']}: {outcome}",
            flush=True,
        )
        names = ("user_id", "account_id", "sequence", "delivery_id")
        row = (*place, *(signal[name] for name in names), outcome, now_ns, signal["target_fraction"])
        self.database.execute("INSERT INTO effects VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def _one(self, query: str, value: object) -> Any:
        return self.database.execute(query, (value,)).fetchone()


def main() -> None:
    """Read until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--users", nargs="+", default=["anna", "ben"])
    parser.add_argument("--file", default="foreign.sqlite")
    given = parser.parse_args()
    reader = ForeignReader(given.file, set(given.users))
    consumer = Consumer(
        {
            "bootstrap.servers": given.kafka,
            "group.id": "reader-foreign-desk",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([TOPIC], on_assign=reader.assigned)
    print("reading", flush=True)
    try:
        while True:
            reader.take(consumer.consume(500, timeout=0.2))
    except KeyboardInterrupt:
        print("stopped")
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
