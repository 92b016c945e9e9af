"""A recording on disk: JSON lines, compressed if the name ends in `.gz`, whole up to its last line feed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from models.errors import BadValue, ConfigError

_GZIP: Final = b"\x1f\x8b"


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that was not there before, whole lines of which stay whatever ends the block."""
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise BadValue(f"{path} should end in .jsonl or .jsonl.gz", field="FILE")
    try:
        raw = path.open("xb")
    except FileExistsError:
        raise BadValue(f"{path} is there already; give another name", field="FILE") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", field="FILE") from error
    with raw:
        if path.suffix != ".gz":
            yield raw
            return
        with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6) as packed:
            yield cast("BinaryIO", packed)


def read_lines(path: Path, read: Callable[[int], None]) -> Iterator[bytes]:
    """The lines of a recording; `read` is told how many bytes of the file were taken so far.

    What follows after a place where a compressed file was cut off, or spoilt, is missing.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", field="FILE") from error
    with raw:
        packed = raw.peek(2)[:2] == _GZIP
        source = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if packed else raw
        try:
            for line in source:
                yield line
                read(raw.tell())
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return
