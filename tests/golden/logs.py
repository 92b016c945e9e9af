"""Reading and writing the golden logs, and which kind a record is of."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from messaging.ports import LogRecord
from serve_app.contracts.records import MESSAGES, RECORDS, Kind

ROOT: Final = Path(__file__).parent
RELEASES: Final = sorted(path for path in ROOT.glob("v*") if path.is_dir())
LAST: Final = RELEASES[-1] if RELEASES else ROOT / "v0.1"


@dataclass(frozen=True, slots=True)
class Golden:
    """One record of a release's log; `topic` is a subject for what travels on NATS."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes | None

    @property
    def record(self) -> LogRecord:
        """As a bus returns it."""
        return LogRecord(self.topic, self.partition, self.offset, self.timestamp_ms, self.key, self.value)

    @property
    def body(self) -> dict[str, Any]:
        """The value as JSON."""
        body: dict[str, Any] = orjson.loads(self.value or b"{}")
        return body

    @property
    def kind(self) -> str | None:
        """The name of its kind; None for what is kept as it was found."""
        some = RECORDS.get(self.topic) or _messages(self.topic)
        typed = [kind for kind in some if kind.type is not None]
        if len(typed) <= 1:
            return typed[0].name if typed else None
        return next((kind.name for kind in typed if _is_of(self.body, kind)), None)


def golden_logs(release: Path) -> list[Golden]:
    """All records, in order per partition."""
    with gzip.open(release / "logs.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [_parsed(json.loads(line)) for line in lines]


def write(release: Path, records: Iterable[Golden]) -> None:
    """The same bytes for the same records."""
    lines = "".join(json.dumps(_line(record), ensure_ascii=False) + "\n" for record in records)
    (release / "logs.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))


def _parsed(line: list[Any]) -> Golden:
    topic, partition, offset, timestamp_ms, key, value = line
    return Golden(
        topic, partition, offset, timestamp_ms, key.encode(), None if value is None else value.encode()
    )


def _line(record: Golden) -> list[Any]:
    value = None if record.value is None else record.value.decode()
    return [
        record.topic,
        record.partition,
        record.offset,
        record.timestamp_ms,
        record.key.decode(),
        value,
    ]


def _messages(subject: str) -> tuple[Kind, ...]:
    tokens = subject.split(".")
    for pattern, kind in MESSAGES.items():
        wanted = pattern.split(".")
        if len(wanted) == len(tokens) and all(a in {"*", b} for a, b in zip(wanted, tokens, strict=True)):
            return (kind,)
    return ()


def _is_of(body: dict[str, Any], kind: Kind) -> bool:
    """By the fields that can have one value only: `schema`, and `kind` where one schema has several. The type
    without a schema is that of the bodies without one.
    """
    fields = kind.type.model_fields
    schema, of = getattr(fields.get("schema_"), "default", None), fields.get("kind")
    told = getattr(of, "default", None)
    return body.get("schema") == schema and (not isinstance(told, str) or body.get("kind") == told)
