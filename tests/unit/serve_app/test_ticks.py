"""Tick files are checked whole before anything starts, and every refusal names file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from models.errors import BadValue
from serve_app.ticks import load_ticks, tick_option

GOOD = "ts_ms,bid,ask\n1000,1.1,1.2\n2000,1.1,1.2\n"


def _file(tmp_path: Path, text: str, name: str = "t.csv.gz") -> Path:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_files_of_one_symbol_follow_each_other(tmp_path: Path) -> None:
    """Two files of a symbol are one run of quotes."""
    later = _file(tmp_path, "ts_ms,bid,ask\n3000,1.1,1.2\n", "later.csv.gz")

    files = load_ticks([("EURUSD", _file(tmp_path, GOOD)), ("EURUSD", later)])

    assert [quote.ts_ms for quote in files["EURUSD"].quotes] == [1000, 2000, 3000]
    assert (files["EURUSD"].span.first_ms, files["EURUSD"].span.last_ms) == (1000, 3000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,bid,ask\n1,1,1\n", "header ts_ms,bid,ask"),
        ("ts_ms,bid,ask\n", "holds no ticks"),
        ("ts_ms,bid,ask\n2000,1,1\n1000,1,1\n", "line 3: goes back in time"),
        ("ts_ms,bid,ask\n1000,1.2,1.1\n", "line 2: bid 1.2 and ask 1.1 are no quote"),
        ("ts_ms,bid,ask\n1000,nan,1.1\n", "line 2"),
        ("ts_ms,bid,ask\n1000,1.1\n", "line 2"),
        ("ts_ms,bid,ask\nsoon,1.1,1.2\n", "line 2"),
    ],
)
def test_bad_content_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """The error names what is wrong and where."""
    with pytest.raises(BadValue, match=message):
        load_ticks([("EURUSD", _file(tmp_path, text))])


def test_missing_or_plain_file_is_refused(tmp_path: Path) -> None:
    """A path that leads nowhere, and one that is not gzip."""
    plain = tmp_path / "plain.csv"
    plain.write_text(GOOD)

    with pytest.raises(BadValue, match="does not exist"):
        load_ticks([("EURUSD", tmp_path / "no.gz")])
    with pytest.raises(BadValue, match="not gzipped CSV"):
        load_ticks([("EURUSD", plain)])


@pytest.mark.parametrize("text", ["EURUSD", "EURUSD=", "eur/usd=x.gz"])
def test_malformed_option_is_refused(text: str) -> None:
    """SYMBOL=FILE or a clear error."""
    with pytest.raises(BadValue):
        tick_option(text)
