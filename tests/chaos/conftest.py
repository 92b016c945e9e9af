"""The whole hub on Apache Kafka, as in the e2e tier, and scenes without it; here both are hurt for longer.

At the end of the run stands a row for each fault: the table of `docs/reliability.md`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from serve_app.servers.apache_kafka import missing_reason
from tests.conftest import without_kafka
from tests.e2e.conftest import UpHub, up_hub
from tests.support.scene.faults.fault import Fault
from tests.support.scene.outcome import HEADER

ROWS = pytest.StashKey[list[str]]()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpHub]:
    """Ended with the tests of its file: what an idle hub takes of two cores would fall to the next scenes."""
    with up_hub(tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Puts a row into the table at the end of the run."""
    return request.config.stash.setdefault(ROWS, []).append


@pytest.fixture
def happened(tmp_path: Path, tell: Callable[[str], None]) -> Callable[[Fault], Awaitable[None]]:
    """Lets a fault happen and holds it against its bounds."""
    if reason := missing_reason():
        without_kafka(reason)

    async def run(fault: Fault) -> None:
        outcome = await fault.happen(tmp_path)
        tell(outcome.row())
        fault.check(outcome)

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table."""
    if rows := config.stash.get(ROWS, []):
        terminalreporter.section("what each fault did")
        for line in (*HEADER, *rows):
            terminalreporter.line(line)
