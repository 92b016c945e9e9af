"""`hub ledger`: was every user's every signal delivered, once, in order, in time, and to nobody else?"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from serve_app.commands.options import Speed, Ticks

if TYPE_CHECKING:
    from messaging.config import KafkaConfig
    from models.strategy import Strategy
    from serve_app.audit.recording import Header
    from serve_app.audit.run_ledger import RunLedger
    from signals.ledger import Findings, Read

    Advance = Callable[[int, int], None]


def ledger(
    recorded: Annotated[
        Path | None, typer.Option(help="Judge this file of --save, instead of a log.")
    ] = None,
    kafka: Annotated[
        str | None, typer.Option(help="Judge the log at host:port; default: of the hub that runs here.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Judge the log of the hub with these settings: its login, its TLS.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Also write what was read to this new file, for --recorded.")
    ] = None,
    strategies: Annotated[
        Path | None, typer.Option(help="The strategies.yaml of the run; default: the one of the settings.")
    ] = None,
    ticks: Ticks = None,
    seconds: Annotated[float, typer.Option(help="Wall seconds of the playback, as given to it.")] = 60.0,
    speed: Speed = 60.0,
    reads: Annotated[
        list[str] | None,
        typer.Option(help="READER=FILE, what a reader says it did: its store or JSON lines; repeatable."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the counts to this JSON file.")] = None,
    partitions: Annotated[int, typer.Option(help="Partitions of user.signals.")] = 24,
    fetch_max_wait_ms: Annotated[int, typer.Option(help="How long the broker may hold a fetch.")] = 50,
) -> None:
    """Check a run: what was owed against what is in the log, and against what readers say they did.

    What was owed follows from the tick files, the playback's length and speed, the strategies and the
    subscriptions in the log, never from what the hub says it predicted. Run it when the playback has ended:

      hub play --seconds 60

      hub ledger --seconds 60 --save run.ledger.gz

      hub ledger --recorded run.ledger.gz --reads desk=positions.sqlite

    Exit code 0 only if nothing was lost, doubled, reordered, late, forged or delivered to the wrong user;
    1 if something was, with the first twenty cases; 2 for files and addresses that do not fit.
    """
    from serve_app.audit.reads_file import read_option, reads_of
    from serve_app.broker_here import broker_here

    console = Console()
    said = [read_option(text) for text in reads or []]
    _check_options(recorded, kafka or config, save)
    if recorded:
        book, took_s = _from_file(console, recorded, places=bool(said))
    else:
        header = _header(strategies, ticks, seconds=seconds, speed=speed, partitions=partitions)
        book, took_s = _from_log(
            console,
            broker_here(kafka, config),
            save,
            header,
            patience_s=_longest_ttl_s(strategies),
            wait_ms=fetch_max_wait_ms,
            places=bool(said),
        )
    _conclude(console, book, (read for name, file in said for read in reads_of(name, file)), took_s, report)


def _check_options(recorded: Path | None, log: str | Path | None, save: Path | None) -> None:
    from models.errors import BadValue

    if recorded and (log or save):
        raise BadValue("--recorded judges a file; leave out --kafka, --config, --save", field="--recorded")


def _header(
    strategies: Path | None, ticks: list[str] | None, *, seconds: float, speed: float, partitions: int
) -> Header:
    from serve_app.audit.dues import load_played, played_slots
    from serve_app.audit.recording import Header
    from serve_app.demo.scene import EXAMPLE_TICKS

    spans = load_played(ticks or EXAMPLE_TICKS)
    return Header(played_slots(_strategies(strategies), spans, seconds=seconds, speed=speed), partitions)


def _strategies(file: Path | None) -> tuple[Strategy, ...]:
    from models.strategy import load_strategies
    from serve_app.settings import load_settings, read_text

    return load_strategies(read_text(str(file) if file else load_settings().strategies))


def _longest_ttl_s(strategies: Path | None) -> float:
    return max(strategy.ttl_ms for strategy in _strategies(strategies)) / 1000 + 1


def _from_file(console: Console, file: Path, *, places: bool) -> tuple[RunLedger, float]:
    import time

    from serve_app.audit.recording import open_recording
    from serve_app.audit.run_ledger import RunLedger

    began = time.perf_counter()
    size = file.stat().st_size if file.is_file() else 0
    with (
        _bar(console, "reading") as advance,
        open_recording(file, lambda taken: advance(taken, size)) as (header, records),
    ):
        book = RunLedger(header.due, header.partitions, keep_places=places)
        with _interruptible(console, book):
            for topic, entry in records:
                book.take(topic, entry)
    return book, time.perf_counter() - began


def _from_log(
    console: Console,
    kafka: KafkaConfig,
    save: Path | None,
    header: Header,
    *,
    patience_s: float,
    wait_ms: int,
    places: bool,
) -> tuple[RunLedger, float]:
    import asyncio
    import time

    from messaging.kafka.client import connection_options
    from serve_app.audit.live import read_live
    from serve_app.audit.recording import new_recording
    from serve_app.audit.run_ledger import RunLedger

    book = RunLedger(header.due, header.partitions, keep_places=places)
    began = time.perf_counter()
    with ExitStack() as stack:
        advance = stack.enter_context(_bar(console, "reading"))
        recorder = stack.enter_context(new_recording(save, header)) if save else None
        stack.enter_context(_interruptible(console, book))
        cluster = connection_options(kafka, "hub-ledger")
        asyncio.run(
            read_live(
                cluster, book, recorder, patience_s=patience_s, fetch_max_wait_ms=wait_ms, progress=advance
            )
        )
    if save:
        console.print(f"{book.records:,} records saved in {save}", highlight=False)
    return book, time.perf_counter() - began


def _conclude(
    console: Console, book: RunLedger, reads: Iterator[Read], took_s: float, report: Path | None
) -> None:
    import time

    import orjson

    from serve_app.audit.words import ledger_lines

    began = time.perf_counter()
    findings = book.settled(reads)
    took_s += time.perf_counter() - began
    for line in ledger_lines(findings):
        console.print(line, highlight=False, markup=False, style=None if findings.clean else "red")
    if book.unjudged_reads:
        console.print(f"{book.unjudged_reads:,} effects of readers are of records after the end of this log")
    console.print(
        f"{len(book.due):,} slots due, {book.records:,} records, {book.deliveries:,} deliveries, "
        f"judged in {took_s:.2f} s",
        highlight=False,
    )
    if report:
        report.write_bytes(orjson.dumps(_counts(findings, book, took_s), option=orjson.OPT_INDENT_2))
    raise typer.Exit(0 if findings.clean else 1)


def _counts(findings: Findings, book: RunLedger, took_s: float) -> dict[str, Any]:
    return {
        **asdict(findings),
        "availability": findings.availability,
        "clean": findings.clean,
        "slots_due": len(book.due),
        "records": book.records,
        "deliveries": book.deliveries,
        "seconds": took_s,
    }


@contextmanager
def _interruptible(console: Console, book: RunLedger) -> Iterator[None]:
    """Say how far the reading got when it is stopped. Nothing here is cyclic: collections only cost time."""
    gc.disable()
    try:
        yield
    except KeyboardInterrupt:
        console.print(
            f"stopped after {book.records:,} records with {book.deliveries:,} deliveries; nothing is settled"
        )
        raise
    finally:
        gc.enable()


@contextmanager
def _bar(console: Console, what: str) -> Iterator[Advance]:
    """A progress bar; what it yields takes how much is done, and of how much."""
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
