"""`python -m benchmarks NAME [--json FILE]`."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import textwrap
from pathlib import Path
from typing import Final

import benchmarks
from benchmarks.harness import Benchmark, Report, Validity, VoidRunError, machine

TRIES: Final = 3


def main() -> int:
    """Run one benchmark; 0 if its figures count, 1 if no try was valid."""
    known = _known()
    asked = _arguments(known)
    benchmark = known[asked.name]
    print(f"{benchmark.name}: {benchmark.question}")
    report = _valid_report(benchmark, asked.data)
    if isinstance(report, str):
        print(f"error: no valid run in {TRIES}: {report}")
        return 1
    if asked.json:
        _write(asked.json, benchmark, report)
    return 0


def _known() -> dict[str, Benchmark]:
    """Every module of this package that defines BENCHMARK."""
    names = (info.name for info in pkgutil.iter_modules(benchmarks.__path__) if info.name != "__main__")
    modules = (importlib.import_module(f"benchmarks.{name}") for name in names)
    found = (getattr(module, "BENCHMARK", None) for module in modules)
    return {item.name: item for item in found if isinstance(item, Benchmark)}


def _arguments(known: dict[str, Benchmark]) -> argparse.Namespace:
    listed = "\n".join(
        textwrap.fill(f"{name:<14}{item.question}", 100, subsequent_indent=" " * 16, initial_indent="  ")
        for name, item in known.items()
    )
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description=f"benchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=known, metavar="NAME", help="one of the above")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="directory of <symbol>_ticks_*.csv.gz, for `coverage`; default: data",
    )
    return parser.parse_args()


def _valid_report(benchmark: Benchmark, data: Path) -> Report | str:
    """The first valid report, or why the last try was void."""
    why = ""
    for attempt in range(1, TRIES + 1):
        report = Report(Validity(), data)
        try:
            benchmark.run(report)
            if benchmark.timed:
                report.validity.verify()
        except VoidRunError as void:
            why = str(void)
            print(f"void run {attempt} of {TRIES}: {why}")
        else:
            return report
    return why


def _write(file: Path, benchmark: Benchmark, report: Report) -> None:
    content = {
        "benchmark": benchmark.name,
        "machine": machine(),
        "figures": report.figures,
        "missing_peers": report.missing_peers,
    }
    file.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
