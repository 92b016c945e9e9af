"""The tick extract is what its README says."""

from __future__ import annotations

import csv
import gzip
import hashlib
from itertools import pairwise
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "examples" / "data"
SUMS = {name: digest for digest, name in map(str.split, (DATA / "SHA256SUMS").read_text().splitlines())}


def test_every_file_has_a_sum() -> None:
    """No tick file without a recorded hash, and no hash without a file."""
    assert sorted(SUMS) == sorted(path.name for path in DATA.glob("*.csv.gz"))


@pytest.mark.parametrize("name", SUMS)
def test_files_match_their_sums(name: str) -> None:
    """The bytes are those whose provenance the README states."""
    assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == SUMS[name]


@pytest.mark.parametrize("name", SUMS)
def test_ticks_are_in_order_and_quoted(name: str) -> None:
    """Header, growing times, bid at most ask: what the feeder expects of any file."""
    with gzip.open(DATA / name, "rt") as text:
        assert text.readline().strip() == "ts_ms,bid,ask"
        rows = [(int(ts), float(bid), float(ask)) for ts, bid, ask in csv.reader(text)]

    assert len(rows) > 10_000
    assert all(earlier[0] <= later[0] for earlier, later in pairwise(rows))
    assert all(0 < bid <= ask for _, bid, ask in rows)
