"""A run in a file: the raw records of three topics and what was owed, so that it can be judged anywhere.

Gzip over one JSON line, the header, and then one frame per record, in log order per partition: topic (index
into the header's), partition, offset, broker time, length of the key, length of the value (-1: none), key,
value. Bytes are kept as they were, because a record that nobody can read is evidence too.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

import orjson

from models.errors import BadValue, ConfigError
from serve_app.audit.reading import PREDICTIONS, SIGNALS, SUBSCRIPTIONS
from signals.ledger import LogEntry, SlotKey

FORMAT: Final = "hub.ledger/1"
TOPICS: Final = (SIGNALS, PREDICTIONS, SUBSCRIPTIONS)
_FRAME: Final = struct.Struct(">BHqqHi")
_LEVEL: Final = 1
"""Of compression: the signals of a batch are nearly equal, and a higher one triples the time."""

_TOLD_EVERY: Final = 4096
_AHEAD: Final = 1 << 20
_SPOILT: Final = (OSError, EOFError, zlib.error)


class Header(NamedTuple):
    """What was owed, and how many partitions `user.signals` has."""

    due: list[SlotKey]
    partitions: int


class Recorder:
    """Writes frames to an open file."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def put(self, topic: str, entry: LogEntry) -> None:
        """Add a record."""
        size = -1 if entry.value is None else len(entry.value)
        frame = _FRAME.pack(
            TOPICS.index(topic), entry.partition, entry.offset, entry.timestamp_ms, len(entry.key), size
        )
        self._out.write(frame + entry.key + (entry.value or b""))


@contextmanager
def new_recording(path: Path, header: Header) -> Iterator[Recorder]:
    """A file that was not there before. Whatever ends the block, what was put is in it."""
    try:
        raw = path.open("xb")
    except FileExistsError:
        raise BadValue(f"{path} is there already; give another name", field="--save") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", field="--save") from error
    with raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=_LEVEL) as packed:
        packed.write(_header_line(header))
        yield Recorder(cast("BinaryIO", packed))


@contextmanager
def open_recording(
    path: Path, progress: Callable[[int], None]
) -> Iterator[tuple[Header, Iterator[tuple[str, LogEntry]]]]:
    """The header, and the records as they are asked for; `progress` is told the bytes of the file taken.

    BadValue if it is no recording of this version, and, from the iterator, if it was cut off.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise ConfigError(f"recording {path} cannot be read: {error.strerror}", field="--recorded") from error
    with raw, gzip.GzipFile(fileobj=raw) as packed:
        frames = cast("BinaryIO", BufferedReader(packed, _AHEAD))
        yield _header(path, frames), _records(path, raw, frames, progress)


def _records(
    path: Path, raw: BinaryIO, packed: BinaryIO, progress: Callable[[int], None]
) -> Iterator[tuple[str, LogEntry]]:
    try:
        for count, frame in enumerate(iter(lambda: packed.read(_FRAME.size), b"")):
            yield _record(frame, packed)
            if count % _TOLD_EVERY == 0:
                progress(raw.tell())
    except (*_SPOILT, struct.error, IndexError) as error:
        raise BadValue(f"{path} is cut off or spoilt: {error!r}", field="--recorded") from error


def _record(frame: bytes, packed: BinaryIO) -> tuple[str, LogEntry]:
    topic, partition, offset, timestamp_ms, key_size, size = _FRAME.unpack(frame)
    key = packed.read(key_size)
    value = None if size < 0 else packed.read(size)
    if len(key) < key_size or (value is not None and len(value) < size):
        raise EOFError("it ends within a record")
    return TOPICS[topic], LogEntry(partition, offset, timestamp_ms, key, value)


def _header_line(header: Header) -> bytes:
    """Slots as closes per series: a day of them would fill a screen otherwise."""
    series = [
        {
            "strategy": strategy,
            "symbol": symbol,
            "horizon_ms": horizon,
            "closes": [s.bar_close_ms for s in some],
        }
        for (strategy, symbol, horizon), some in groupby(sorted(header.due), key=lambda slot: slot[:3])
    ]
    return orjson.dumps({"format": FORMAT, "partitions": header.partitions, "due": series}) + b"\n"


def _header(path: Path, packed: BinaryIO) -> Header:
    try:
        content = orjson.loads(packed.readline(1 << 24))
        version, header = content["format"], Header(list(_due(content["due"])), content["partitions"])
    except (*_SPOILT, ValueError, KeyError, TypeError) as error:
        raise BadValue(
            f"{path} is no recording of `hub ledger --save`: {error}", field="--recorded"
        ) from error
    if version != FORMAT:
        raise BadValue(f"{path} has the format {version!r}; expected {FORMAT!r}", field="--recorded")
    return header


def _due(series: Iterable[dict[str, object]]) -> Iterator[SlotKey]:
    for one in series:
        for close in cast("list[int]", one["closes"]):
            yield SlotKey(str(one["strategy"]), str(one["symbol"]), cast("int", one["horizon_ms"]), close)
