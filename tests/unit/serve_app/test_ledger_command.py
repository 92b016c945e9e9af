"""`hub ledger` on recorded runs: the same verdict as over the log, and clear refusals."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from models.errors import HubError
from serve_app.audit.recording import Header, new_recording, open_recording
from serve_app.audit.run_ledger import RunLedger
from serve_app.cli import app
from signals.ledger import LogEntry, Read
from tests.unit.signals.recorded import Recorded

PARTITIONS = 24


def saved(path: Path, run: Recorded) -> Path:
    """The run as `--save` leaves it."""
    with new_recording(path, Header(run.due, PARTITIONS)) as recorder:
        for topic, entry in run.entries():
            recorder.put(topic, entry)
    return path


def ledger(*arguments: str | Path) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["ledger", *map(str, arguments)])


@pytest.fixture
def run() -> Recorded:
    """A clean one."""
    return Recorded()


@pytest.fixture
def file(run: Recorded, tmp_path: Path) -> Path:
    """The same, saved."""
    return saved(tmp_path / "run.ledger.gz", run)


def test_a_recording_comes_back_as_it_was(run: Recorded, file: Path) -> None:
    """Every byte of every record, a tombstone too, and what was owed."""
    with open_recording(file, lambda _: None) as (header, records):
        found = list(records)

    assert found == list(run.entries())
    assert (sorted(header.due), header.partitions) == (sorted(run.due), PARTITIONS)


def test_a_clean_run_exits_with_zero_and_says_so(run: Recorded, file: Path, tmp_path: Path) -> None:
    """The sum, the availability, the time it took, and a report to compute with."""
    said = ledger("--recorded", file, "--report", tmp_path / "report.json")

    assert said.exit_code == 0, said.output
    assert "LEDGER CLEAN" in said.output
    assert "availability 100.0000%" in said.output
    assert f"{run.deliveries:,} deliveries, judged in" in said.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["clean"], report["delivered"], report["lost"]) == (True, run.deliveries, 0)


def test_a_broken_promise_exits_with_one_and_is_shown(run: Recorded, tmp_path: Path) -> None:
    """The count under its name, and the case."""
    log, places = run.signals_of("user-0007")
    del log[places[-1]]

    said = ledger("--recorded", saved(tmp_path / "run.gz", run))

    assert said.exit_code == 1
    assert "1 lost" in said.output
    assert "user-0007" in said.output


def _lines(path: Path, reads: list[Read]) -> Path:
    named = ({**read._asdict(), "outcome": "acted" if read.acted else "expired"} for read in reads)
    path.write_bytes(b"".join(orjson.dumps(read) + b"\n" for read in named))
    return path


def _database(path: Path, reads: list[Read]) -> Path:
    with closing(sqlite3.connect(path)) as database, database:
        columns = "id INTEGER PRIMARY KEY, partition, offset, delivery_id, user_id, outcome, at_ns"
        database.execute(f"CREATE TABLE effects ({columns})")
        rows = [(r.partition, r.offset, r.delivery_id, r.user_id, "acted", r.at_ns) for r in reads]
        database.executemany("INSERT INTO effects VALUES (NULL, ?, ?, ?, ?, ?, ?)", rows)
    return path


@pytest.mark.parametrize("write", [_lines, _database])
def test_what_readers_did_is_judged_from_either_kind_of_file(
    run: Recorded, file: Path, tmp_path: Path, write: object
) -> None:
    """Clean as it is, and not once a reader acted twice."""
    assert callable(write)
    good = write(tmp_path / "good", run.reads())
    bad = write(tmp_path / "bad", run.reads() + run.reads()[:1])

    assert ledger("--recorded", file, "--reads", f"desk={good}").exit_code == 0
    said = ledger("--recorded", file, "--reads", f"desk={bad}")
    assert (said.exit_code, "1 doubled" in said.output) == (1, True)


def test_wrong_files_are_refused_by_name(file: Path, tmp_path: Path) -> None:
    """Absent, something else, another version, cut off: what is wrong, with which option."""
    (other := tmp_path / "other").write_text("no recording")
    (newer := tmp_path / "newer").write_bytes(
        gzip.compress(b'{"format":"hub.ledger/9","due":[],"partitions":1}\n')
    )
    (cut := tmp_path / "cut").write_bytes(file.read_bytes()[:-2000])
    (reads := tmp_path / "reads").write_text("{}\n")
    refusals: dict[tuple[str | Path, ...], str] = {
        ("--recorded", tmp_path / "absent"): "absent cannot be read",
        ("--recorded", other): "is no recording",
        ("--recorded", newer): "'hub.ledger/9'",
        ("--recorded", cut): "cut off or spoilt",
        ("--recorded", file, "--save", other): "leave out --kafka, --config, --save",
        ("--recorded", file, "--reads", "desk"): "READER=FILE",
        ("--recorded", file, "--reads", f"desk={tmp_path / 'absent'}"): "cannot be read",
        ("--recorded", file, "--reads", f"desk={reads}"): "line 1",
    }
    for arguments, message in refusals.items():
        error = ledger(*arguments).exception
        assert isinstance(error, HubError), arguments
        assert message in error.message


def test_a_file_that_is_there_is_not_overwritten(run: Recorded, file: Path) -> None:
    """A recording is evidence."""
    with pytest.raises(HubError, match="is there already"), new_recording(file, Header(run.due, 1)):
        pass


def test_ctrl_c_says_what_was_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a log settles nothing, but it is known how much of it there was."""
    take = RunLedger.take

    def interrupted(book: RunLedger, topic: str, entry: LogEntry) -> None:
        if book.records == 100:
            raise KeyboardInterrupt
        take(book, topic, entry)

    monkeypatch.setattr(RunLedger, "take", interrupted)

    said = ledger("--recorded", file)

    assert said.exit_code == 130
    assert "stopped after 100 records" in said.output
    assert "LEDGER" not in said.output


def test_help_teaches() -> None:
    """What is compared with what, in which order to run it, and what the exit codes mean."""
    said = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["ledger", "--help"]).output

    for text in ("what was owed", "hub play --seconds 60", "--recorded", "Exit code 0 only if"):
        assert text in said
