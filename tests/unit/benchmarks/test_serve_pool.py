"""What the benchmark of the tail asks for and gets back survives its way through JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from benchmarks import tail
from benchmarks.serve_pool.cells import REPLICAS, Cell, CellResult, PoolResult


@pytest.mark.parametrize("cell", tail.CELLS, ids=lambda cell: cell.name)
def test_a_cell_arrives_as_it_was_sent(cell: Cell) -> None:
    """Acts are in order, within the cell, about replicas that exist; numbers stay numbers."""
    arrived = Cell.of(json.loads(json.dumps(asdict(cell))))

    assert arrived == cell
    assert [act.at_s for act in cell.acts] == sorted(act.at_s for act in cell.acts)
    assert all(act.at_s <= cell.seconds for act in cell.acts)
    assert all(number < REPLICAS for act in cell.acts for number in act.slower or {})


def test_every_frozen_replica_goes_on_before_the_cell_ends() -> None:
    """A process that stays stopped would hold up all that follows."""
    frozen = [act.frozen for act in tail.FROZEN.acts if act.frozen is not None]

    assert frozen == [6, -1, 3, -1]


def test_a_result_arrives_with_all_its_calls() -> None:
    """Answered, failed and lost make up the calls."""
    sent = CellResult({"ours": PoolResult([1.0, 2.0], failed=1, lost=1)}, [0.5])

    assert CellResult.of(json.loads(json.dumps(asdict(sent)))) == sent
    assert sent.pools["ours"].calls == 4
