"""The reader written from the published contract alone comes to the same verdicts as the library."""

from __future__ import annotations

import importlib.util
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from deployments.reader.fold import PartitionFold
from messaging.claims import EpochFilter
from messaging.ports import LogRecord
from models.events import CLAIM_KEY
from tests.unit.reader.scene import NEIGHBOURS, USER
from tests.unit.reader.test_fold import history, record
from tests.unit.signals.records import NOW_NS, TTL_NS, signal_bytes

EXAMPLE = Path(__file__).parents[3] / "examples" / "foreign_reader" / "reader.py"


@dataclass(frozen=True)
class Message:
    """A record as librdkafka hands it out."""

    record: LogRecord

    def partition(self) -> int:
        return self.record.partition

    def offset(self) -> int:
        return self.record.offset

    def key(self) -> bytes:
        return self.record.key

    def value(self) -> bytes | None:
        return self.record.value

    def error(self) -> None:
        return None


@pytest.fixture(scope="module")
def foreign() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("foreign_reader", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def effects(file: Path) -> list[tuple[int, str]]:
    """Offset and outcome of each effect in a store."""
    with closing(sqlite3.connect(file)) as database:
        return list(database.execute("SELECT offset, outcome FROM effects ORDER BY id"))


def test_the_example_imports_nothing_of_the_hub(foreign: ModuleType) -> None:
    """It stands for services that cannot."""
    rooms = {"models", "signals", "messaging", "deployments", "storage", "serve_app", "routing", "inference"}
    used = {
        value.__name__.partition(".")[0] for value in vars(foreign).values() if isinstance(value, ModuleType)
    }
    used |= {getattr(value, "__module__", "").partition(".")[0] for value in vars(foreign).values()}

    assert not used & rooms


@pytest.mark.parametrize("seed", range(25))
def test_both_act_on_the_same_records(
    foreign: ModuleType, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over owners that change, zombies, repeats, slots in parts and poison; the foreign one is restarted."""
    monkeypatch.setattr(time, "time_ns", lambda: NOW_NS)
    log, users = history(seed), {USER, NEIGHBOURS[0]}
    fold = PartitionFold(0, EpochFilter(), None, wanted=users.__contains__)
    expected = [(one.offset, "acted") for one in log if fold.take(one, NOW_NS).signal]

    for start in range(0, len(log), 17):
        reader = foreign.ForeignReader(str(tmp_path / "f.sqlite"), users)
        reader.take([Message(one) for one in log[max(0, start - 5) : start + 17]])
        reader.database.close()

    assert effects(tmp_path / "f.sqlite") == expected
    assert expected


@pytest.mark.parametrize(("moved_ns", "outcome"), [(-1, "acted"), (0, "expired")])
def test_it_puts_down_what_came_too_late(
    foreign: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, moved_ns: int, outcome: str
) -> None:
    """To the nanosecond, with the clock error of the signal."""
    late_ns = NOW_NS + TTL_NS - 7 + moved_ns
    monkeypatch.setattr(time, "time_ns", lambda: late_ns)
    reader = foreign.ForeignReader(str(tmp_path / "f.sqlite"), {USER})

    claim, signal = record(0, CLAIM_KEY, b"{}"), record(1, USER.encode(), signal_bytes(clock_error_ns=7))
    reader.take([Message(claim), Message(signal)])
    reader.database.close()

    assert effects(tmp_path / "f.sqlite") == [(1, outcome)]
