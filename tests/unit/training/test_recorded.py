"""Learning from what a hub recorded: the same windows as from the ticks that it saw."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import numpy as np
import pytest

from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.topics import PREDICTIONS, create_topics, partition_of
from models.errors import BadValue
from models.events import CLAIM_KEY
from models.market import Bar
from models.prediction import ReferencePrice
from signals.encoding import encode
from tests.unit.signals.records import skipped, slot
from tests.unit.training.synthetic import PLAN
from training.data import samples_in
from training.recorded import RecordedBars, bars_recorded
from training.source import TickFiles


async def recorded(bars: list[Bar]) -> list[Bar]:
    """What is read back of a hub that saw these bars, with repeats and with records of another symbol."""
    log = MemoryLog(Random(1), clock=time.time_ns)
    bus = MemoryBus(log, "forecaster")
    await create_topics(bus, 1)
    symbol = bars[0].symbol
    records = [Record(CLAIM_KEY, b"{}"), Record(symbol.encode(), b"garbage")]
    for bar in bars:
        for strategy in ("alpha@1", "beta@1"):
            place = slot(bar.close_ms, strategy=strategy, symbol=symbol)
            owed = skipped(place.model_copy(update={"bar_ms": bar.bar_ms}))
            half = bar.spread / 2
            quote = ReferencePrice(bid=bar.close - half, ask=bar.close + half, ts_ms=bar.close_ms)
            records.append(Record(symbol.encode(), encode(owed.model_copy(update={"reference": quote}))))
    partition = partition_of(symbol.encode(), PREDICTIONS.partitions)
    log.partition(PREDICTIONS.name, partition).land(records, timestamp_ms=0)
    return await bars_recorded(bus, symbol)


@pytest.fixture(scope="session")
def seen(ticks: Path) -> list[list[Bar]]:
    """The sessions of the first instrument."""
    return list(TickFiles(ticks).sessions(PLAN.instruments[0], PLAN.bar_ms))


async def test_windows_are_those_of_the_ticks(seen: list[list[Bar]]) -> None:
    """Returns, context and outcomes agree, session by session."""
    symbol = PLAN.instruments[0]
    source = RecordedBars({symbol: await recorded([bar for session in seen for bar in session])})

    found = samples_in(source.sessions(symbol, PLAN.bar_ms), PLAN)
    expected = samples_in(seen, PLAN)

    assert found.close_ms.tolist() == expected.close_ms.tolist()
    assert len(found) > 100
    np.testing.assert_allclose(found.window, expected.window, atol=1e-9)
    np.testing.assert_allclose(found.context, expected.context, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.outcome, expected.outcome, atol=1e-12)


async def test_a_hole_ends_a_session(seen: list[list[Bar]]) -> None:
    """Returns across it would be wrong."""
    bars = seen[0][:20]
    source = RecordedBars({bars[0].symbol: await recorded([*bars[:8], *bars[9:]])})

    assert [len(session) for session in source.sessions(bars[0].symbol, PLAN.bar_ms)] == [8, 11]


async def test_a_card_says_what_it_was_made_from(seen: list[list[Bar]]) -> None:
    """Number and hash of the bars; other bars, another hash."""
    symbol = PLAN.instruments[0]
    bars = await recorded(seen[0])
    one, other = RecordedBars({symbol: bars}), RecordedBars({symbol: bars[:-1]})

    said = one.provenance([symbol])
    assert said["data"] == f"bars recorded by the hub: {len(bars):,} of {symbol}"
    assert said["data_sha256"] != other.provenance([symbol])["data_sha256"]
    assert int(one.until([symbol], PLAN.bar_ms).timestamp() * 1000) == bars[-1].close_ms


def test_a_symbol_that_was_never_played_is_named() -> None:
    """With the size of the bars that are wanted."""
    with pytest.raises(BadValue, match="no 10000 ms bars of EURUSD"):
        RecordedBars({}).until(["EURUSD"], 10_000)
