"""What readers say they did: from JSON lines, or from the table `effects` that the reader library keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import orjson

from models.errors import BadValue, ConfigError
from signals.ledger import Read

_SQLITE: Final = b"SQLite format 3\x00"
_EFFECTS: Final = "SELECT partition, offset, delivery_id, user_id, outcome, at_ns FROM effects ORDER BY id"


def read_option(text: str) -> tuple[str, Path]:
    """Reader and path of `READER=FILE`; BadValue says what is wrong with it."""
    reader, equals, path = text.partition("=")
    if not (reader and equals and path):
        raise BadValue(f"--reads was {text!r}; expected READER=FILE", field="--reads")
    return reader, Path(path)


def reads_of(reader: str, path: Path) -> Iterator[Read]:
    """The effects of one reader, oldest first; BadValue names the file and what is wrong with it."""
    try:
        with path.open("rb") as file:
            is_database = file.read(len(_SQLITE)) == _SQLITE
        yield from _from_database(reader, path) if is_database else _from_lines(reader, path)
    except OSError as error:
        raise ConfigError(f"reads file {path} cannot be read: {error.strerror}", field="--reads") from error
    except sqlite3.Error as error:
        raise BadValue(f"reads file {path} has no table `effects`: {error}", field="--reads") from error


def _from_database(reader: str, path: Path) -> Iterator[Read]:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        for partition, offset, delivery, user, outcome, at_ns in database.execute(_EFFECTS):
            yield Read(reader, partition, offset, delivery, user, outcome == "acted", at_ns)


def _from_lines(reader: str, path: Path) -> Iterator[Read]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                body = orjson.loads(line)
                yield Read(
                    reader,
                    body["partition"],
                    body["offset"],
                    body["delivery_id"],
                    body["user_id"],
                    body["outcome"] == "acted",
                    body["at_ns"],
                )
            except (ValueError, KeyError, TypeError) as error:
                raise BadValue(f"reads file {path}, line {number}: {error!r}", field="--reads") from error
