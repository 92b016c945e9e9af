"""What the benchmark of the tail asks for and gets back survives its way through JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from benchmarks import tail
from benchmarks.harness import Report, Validity
from benchmarks.serve_pool.cells import REPLICAS, Cell, CellResult, PoolResult


@pytest.mark.parametrize("cell", [*tail.CELLS, tail.ONNX], ids=lambda cell: cell.name)
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


def test_the_figures_are_computed_from_the_right_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours over the default of the same cell; the spread is of two defaults; failures are shares of calls."""
    ours, default, again = PoolResult([80.0] * 9, failed=1), PoolResult([100.0] * 10), PoolResult([110.0])
    ours.frozen_picked_s = 0.7
    peers = {tail.AGAIN: again, "round_robin": PoolResult([300.0]), "capacity_queue": PoolResult([50.0])}
    results = tail.Results(
        {
            cell.name: CellResult({tail.OURS: ours, tail.DEFAULT: default}, [])
            for cell in (*tail.CELLS, tail.ONNX)
        },
        {
            cell.name: {
                name: CellResult({tail.DEFAULT: default, name: pool}, []) for name, pool in peers.items()
            }
            for cell in (*tail.BESIDE_PEERS, tail.ONNX)
        },
    )

    async def measured(report: Report) -> tail.Results:
        return results

    monkeypatch.setattr(tail, "_measured", measured)
    report = Report(Validity())
    tail.run(report)

    wanted = {
        "slow_p99_ratio": 0.8,
        "antagonist_p99_ratio": 0.8,
        "onnx_p99_ratio": 0.8,
        "aa_spread_onnx": 0.1,
        "aa_spread_homogeneous": 0.1,
        "homogeneous_p99_excess": 0.7,
        "slow_round_robin_ratio": 3.0,
        "homogeneous_capacity_queue_ratio": 0.5,
        "failfast_error_share": 0.1,
        "failfast_default_error_share": 0.0,
        "frozen_ejected_s": 0.7,
    }
    assert {name: report.figures[name] for name in wanted} == pytest.approx(wanted)
