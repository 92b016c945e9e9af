"""What a reader that starts near the end of a partition knows of the claims before it."""

from __future__ import annotations

from messaging.history import epochs_near_end
from messaging.topics import SIGNALS
from tests.unit.front.signal_log import PARTITION, SignalLog
from tests.unit.front.test_user_signals import CountingBus


async def test_claims_come_from_the_last_checkpoint_and_from_what_lies_behind_it() -> None:
    """However long ago the first of them was, what was written before the checkpoint is not read again."""
    log = SignalLog()
    old = log.claim()
    for sequence in range(1, 60):
        log.signal(sequence)
    log.checkpoint(old)
    new = log.claim()
    log.signal(60)
    end = log.log.partition(SIGNALS.name, PARTITION).end
    bus = CountingBus(log.log, "reader")

    epochs = await epochs_near_end(bus, PARTITION, end)

    assert epochs.claims == (old, new)
    assert bus.records_read == 2


async def test_without_a_checkpoint_the_last_claim_is_looked_for() -> None:
    """So a log without any is read backwards."""
    log = SignalLog()
    log.claim()
    new = log.claim()
    log.signal(1)

    epochs = await epochs_near_end(log.bus, PARTITION, log.log.partition(SIGNALS.name, PARTITION).end)

    assert epochs.claims[-1] == new
