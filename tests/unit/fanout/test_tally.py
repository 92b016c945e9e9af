"""What a worker says of its speed."""

from __future__ import annotations

from deployments.fanout.tally import Tally
from models.metrics import MemoryMeter

MS = 1_000_000
SECOND = 1_000 * MS


def acked(tally: Tally, slot: str, *, tick_ns: int, after_ms: int) -> None:
    """One partition's batch of a slot, acknowledged so long after the tick."""
    acked_ns = tick_ns + after_ms * MS
    tally.stages(slot, {"tick": tick_ns}, projected_ns=acked_ns, acked_ns=acked_ns)


def test_a_slot_counts_once_until_its_last_partition_is_acknowledged() -> None:
    """The median is over slots, not over batches."""
    tally = Tally(MemoryMeter())
    for after_ms in (5, 6, 40):
        acked(tally, "slow", tick_ns=0, after_ms=after_ms)
    acked(tally, "fast", tick_ns=0, after_ms=41)
    assert tally.tick_to_ack_ms() == {"p50": 41.0, "p99": 41.0}
    acked(tally, "fastest", tick_ns=40 * MS, after_ms=2)
    assert tally.tick_to_ack_ms()["p50"] == 40.0


def test_only_the_latest_minute_counts() -> None:
    """A slow start is forgotten."""
    tally = Tally(MemoryMeter())
    acked(tally, "start", tick_ns=0, after_ms=900)
    acked(tally, "later", tick_ns=30 * SECOND, after_ms=10)
    assert tally.tick_to_ack_ms()["p99"] == 900.0
    acked(tally, "latest", tick_ns=61 * SECOND, after_ms=8)
    assert tally.tick_to_ack_ms() == {"p50": 10.0, "p99": 10.0}


def test_a_slot_without_a_tick_has_no_time() -> None:
    """A record that says nothing of its tick is counted by no clock."""
    tally = Tally(MemoryMeter())
    tally.stages("slot", {}, projected_ns=1, acked_ns=2)
    assert tally.tick_to_ack_ms() == {}
