"""The pure parts of the benchmarks: a wrong one would print a wrong figure. Nothing here measures time."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks import crowd
from benchmarks.fanout import last_of_each
from benchmarks.handover import Window, Written, silences_s
from benchmarks.harness import percentile, spread
from benchmarks.kafka_only import Recorded
from benchmarks.recorded import RecordedSlot, latest, stage_medians_ms
from benchmarks.resident import Resident, name_of
from messaging.ports import LogRecord
from messaging.topics import SIGNALS
from signals.encoding import decode_owed, encode, slot_id

MS = 1_000_000


def record(value: str = "{}") -> LogRecord:
    """A record somewhere."""
    return LogRecord("topic", 3, 0, 0, b"key", value.encode())


def slot_at(tick_ns: int, **times_ns: int) -> RecordedSlot:
    """A recorded slot with these stage times."""
    return RecordedSlot(record(), {"tick": tick_ns, **times_ns}, None)


def test_a_slot_ends_with_its_slowest_partition() -> None:
    """The times come slot after slot, a fixed number of partitions each."""
    assert last_of_each([1.0, 9.0, 2.0, 4.0, 3.0, 5.0], 3) == [9.0, 5.0]


def test_a_made_prediction_is_one_the_hub_can_read() -> None:
    """Its id is the one that its slot derives, and slots of a crowd follow each other."""
    made = [crowd.prediction(10, number, epoch=1, tick_ns=5, rng=Random(1)) for number in (1, 2)]
    assert decode_owed(encode(made[0])) == made[0]
    assert made[0].slot.signal_id == slot_id(made[0].slot)
    assert made[1].slot.bar_close_ms - made[0].slot.bar_close_ms == made[0].slot.bar_ms


def test_only_the_measured_time_counts() -> None:
    """What was due before it is warm-up."""
    slots = [slot_at(second * 1_000 * MS) for second in (1, 20, 60, 80)]
    assert latest(slots, 60.0) == slots[2:]


def test_stages_are_medians_from_the_tick() -> None:
    """Of the slots that reached the stage; a stage that none reached is absent."""
    slots = [slot_at(10 * MS, window=12 * MS, sent=20 * MS), slot_at(30 * MS, window=36 * MS)]
    assert stage_medians_ms(slot.times_ns for slot in slots) == {"window": 4.0, "sent": 10.0}


def test_the_replica_s_own_time_is_waiting_and_computing() -> None:
    """As the lineage has it, in microseconds."""
    slot = RecordedSlot(record(), {}, {"queue_us": 200, "inference_us": 1_300})
    assert slot.replica_ms == 1.5


def test_the_peer_replays_the_very_bytes() -> None:
    """A slot written for the peer is read by it unchanged."""
    slot = RecordedSlot(record('{"a":1}'), {}, None, {3: [record("one"), record("two")]})
    recorded = Recorded.of(slot.written())
    assert recorded.prediction == (b"key", b'{"a":1}')
    assert recorded.signals == {3: [(b"key", b"one"), (b"key", b"two")]}


@pytest.mark.parametrize(("first", "second"), [([10.0], [12.0]), ([12.0], [10.0])])
def test_a_spread_is_a_share_whichever_is_larger(first: list[float], second: list[float]) -> None:
    """Nought means alike."""
    assert spread(first, second) == pytest.approx(0.2)
    assert spread(first, first) == 0.0


def test_a_percentile_lies_between_its_neighbours() -> None:
    """Linear, as everywhere else in the figures."""
    assert percentile([0.0, 10.0], 99) == pytest.approx(9.9)


def test_memory_is_compared_process_by_process() -> None:
    """Who was not there in both spans does not count; of equal names the worst does."""
    resident = Resident()
    for at_s, held in ((1.0, {1: 100, 2: 100, 3: 50}), (2.0, {1: 100, 2: 200, 4: 50})):
        resident.samples.append((at_s, {pid: ("Fanout", size) for pid, size in held.items()}))

    assert resident.growth((1.0, 2.0), (2.0, 3.0)) == {"Fanout": 2.0}
    assert resident.held_mb((2.0, 3.0)) == {"Fanout": pytest.approx(350e-6)}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["ray::ServeReplica:hub:pool-light"], "pool-light"),
        (["ray::ServeController.listen_for_change()"], "ServeController"),
        (["/usr/bin/java", "-cp", "x/*", "kafka.Kafka", "server.properties"], "kafka"),
        (["/usr/bin/python", "-u", "/lib/ray/dashboard/agent.py", "--port=1"], "agent"),
        (["/lib/ray/core/src/ray/gcs/gcs_server", "--log"], "gcs_server"),
    ],
)
def test_processes_are_called_what_people_call_them(command: list[str], name: str) -> None:
    """Replicas by deployment, servers by what they are."""
    assert name_of(command) == name


def test_silence_is_the_longest_pause_that_begins_in_the_window() -> None:
    """Of any partition, less the period. The pause that begins just before a kill is the kill's alone."""
    written = Written()
    written.first_ms[0] = {1: 0, 2: 100, 3: 1_600, 4: 1_700}
    written.first_ms[1] = {1: 0, 2: 100, 3: 200}
    windows = [Window("stopped", -4_000, 150), Window("killed", 150, 1_800), Window("added", 1_800, 2_000)]

    assert silences_s(windows, written) == {
        "stopped": [pytest.approx(0.0)],
        "killed": [pytest.approx(1.4)],
        "added": [pytest.approx(0.0)],
    }


def test_a_slot_is_lost_if_it_is_neither_written_nor_excused() -> None:
    """One that came late is both, and counts once."""
    written = Written()
    written.first_ms[0] = {1: 0, 2: 100, 3: 1_600, 4: 1_700}
    written.excused |= {(0, 4), (1, 1)}

    assert written.lost(4) == 4 * SIGNALS.partitions - 5
