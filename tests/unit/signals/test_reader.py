"""The readers' rules: which record counts, what is dropped and why, and the fold an owner restores from."""

from __future__ import annotations

import orjson
import pytest

from messaging.claims import EpochFilter
from models.events import BEAT_KEY, CLAIM_KEY, UNDELIVERED_KEY, Beat, Undelivered, UndeliveredReason
from signals.encoding import encode
from signals.reader import PredictionRules, SignalReading, SignalRules, Verdict
from tests.unit.signals.records import (
    BAR_MS,
    CLOSE_MS,
    NOW_NS,
    TTL_NS,
    prediction,
    signal_bytes,
    skipped,
    slot,
)

SERIES = ("alpha@1", "EURUSD", 60_000)
LATER_MS = CLOSE_MS + BAR_MS


def predictions() -> PredictionRules:
    """Rules that have seen a claim at offset 0."""
    rules = PredictionRules(EpochFilter())
    assert rules.take(0, CLAIM_KEY, b"{}").verdict is Verdict.CONTROL
    return rules


def signals(*, strict: bool = False) -> SignalRules:
    """Rules that have seen a claim at offset 0."""
    rules = SignalRules(EpochFilter(), strict=strict)
    assert rules.take(0, CLAIM_KEY, b"{}", None).verdict is Verdict.CONTROL
    return rules


def take(rules: SignalRules, offset: int, raw: bytes, *, now_ns: int | None = None) -> SignalReading:
    """Feed a signal under the key its body names."""
    return rules.take(offset, orjson.loads(raw)["user_id"].encode(), raw, now_ns)


class TestPredictions:
    """One partition of `hub.predictions`."""

    def test_the_first_valid_record_of_a_slot_wins(self) -> None:
        """A retry, hedge or smaller model cannot make a second forecast of a slot."""
        rules = predictions()

        assert rules.take(1, b"EURUSD", encode(skipped())).verdict is Verdict.ACCEPTED
        assert rules.take(2, b"EURUSD", encode(prediction())).verdict is Verdict.REPEATED
        assert rules.series == {SERIES: CLOSE_MS}

    def test_bar_closes_of_a_series_only_grow(self) -> None:
        """An older slot after a newer one is dropped."""
        rules = predictions()
        rules.take(1, b"EURUSD", encode(prediction(slot(LATER_MS))))

        assert rules.take(2, b"EURUSD", encode(prediction())).verdict is Verdict.OUT_OF_ORDER

    def test_a_record_behind_a_foreign_claim_is_void_and_leaves_no_trace(self) -> None:
        """The slot still belongs to the record of the new owner."""
        rules = predictions()
        rules.take(1, CLAIM_KEY, b"{}")

        assert rules.take(2, b"EURUSD", encode(prediction(epoch=0))).verdict is Verdict.VOID
        assert rules.take(3, b"EURUSD", encode(prediction(epoch=1))).verdict is Verdict.ACCEPTED

    @pytest.mark.parametrize("epoch", [-1, 1, 9])
    def test_an_epoch_that_is_not_before_the_record_is_forged(self, epoch: int) -> None:
        """Naming a claim of the future would outlive every fence."""
        reading = predictions().take(1, b"EURUSD", encode(prediction(epoch=epoch)))

        assert reading.verdict is Verdict.FORGED

    def test_a_slot_under_another_symbols_key_is_misaddressed(self) -> None:
        """Order is per key, so the key must be the slot's."""
        assert predictions().take(1, b"NZDUSD", encode(prediction())).verdict is Verdict.MISADDRESSED

    def test_a_slot_with_another_slots_id_is_forged(self) -> None:
        """Ids must derive from the fields."""
        stolen = slot().model_copy(update={"signal_id": slot(LATER_MS).signal_id})

        assert predictions().take(1, b"EURUSD", encode(prediction(stolen))).verdict is Verdict.FORGED

    @pytest.mark.parametrize("value", [None, b"", b"{}", b"[]", b"\xff"])
    def test_what_is_no_record_is_undecodable(self, value: bytes | None) -> None:
        """Poison is told apart, never raised."""
        reading = predictions().take(1, b"EURUSD", value)

        assert reading.verdict is Verdict.UNDECODABLE
        assert reading.detail


class TestSignals:
    """One partition of `user.signals`."""

    def test_signals_in_sequence_are_accepted(self) -> None:
        """The normal case moves sequence, series and cursor."""
        rules = signals()

        assert take(rules, 1, signal_bytes(sequence=1, source=(0, 5))).verdict is Verdict.ACCEPTED
        assert take(rules, 2, signal_bytes(sequence=2, close_ms=LATER_MS, source=(0, 6))).missed == 0
        assert (rules.sequences, rules.series, rules.cursor) == ({"user-1": 2}, {SERIES: LATER_MS}, {0: 7})
        assert rules.position == 3

    def test_a_gap_is_reported_and_the_signal_counts(self) -> None:
        """A reader learns how many numbers it never saw."""
        rules = SignalRules(EpochFilter(), {"user-1": 3})

        reading = take(rules, 9, signal_bytes(sequence=6))
        assert (reading.verdict, reading.missed) == (Verdict.ACCEPTED, 2)

    def test_the_first_signal_of_an_unknown_user_is_no_gap(self) -> None:
        """A reader may begin anywhere."""
        assert take(signals(), 1, signal_bytes(sequence=40)).missed == 0

    def test_the_same_batch_again_is_repeated(self) -> None:
        """A retry of a producer that is not idempotent lands twice; accounts are told apart."""
        rules = signals()
        batch = [signal_bytes(account_id=name, sequence=number) for number, name in enumerate("ab", start=1)]

        first = [take(rules, 1 + i, raw).verdict for i, raw in enumerate(batch)]
        again = [take(rules, 3 + i, raw).verdict for i, raw in enumerate(batch)]
        assert first == [Verdict.ACCEPTED] * 2
        assert again == [Verdict.REPEATED] * 2

    def test_a_delivery_under_a_fresh_number_is_still_repeated(self) -> None:
        """An owner without a cursor projects a slot again: one effect per delivery, whatever the number."""
        rules = signals()
        take(rules, 1, signal_bytes(sequence=1))

        assert take(rules, 2, signal_bytes(sequence=2)).verdict is Verdict.REPEATED
        assert rules.sequences == {"user-1": 2}

    def test_an_older_slot_or_number_is_out_of_order(self) -> None:
        """Bar closes of a series and numbers of a user only grow."""
        rules = signals()
        take(rules, 1, signal_bytes(sequence=5, close_ms=LATER_MS))

        assert take(rules, 2, signal_bytes(sequence=6)).verdict is Verdict.OUT_OF_ORDER
        older = signal_bytes(sequence=4, close_ms=LATER_MS + BAR_MS)
        assert take(rules, 3, older).verdict is Verdict.OUT_OF_ORDER
        assert rules.sequences == {"user-1": 6}

    def test_an_expired_signal_is_dropped_but_consumed_its_number(self) -> None:
        """What was too late is no gap."""
        rules = signals()

        late = take(rules, 1, signal_bytes(sequence=1), now_ns=NOW_NS + TTL_NS)
        assert late.verdict is Verdict.EXPIRED
        fresh = take(rules, 2, signal_bytes(sequence=2, close_ms=LATER_MS), now_ns=NOW_NS + TTL_NS - 1)
        assert (fresh.verdict, fresh.missed) == (Verdict.ACCEPTED, 0)

    def test_with_an_uncertain_clock_a_signal_is_dropped_early(self) -> None:
        """The writer's clock error counts against acting."""
        raw = signal_bytes(clock_error_ns=10)

        assert take(signals(), 1, raw, now_ns=NOW_NS + TTL_NS - 10).verdict is Verdict.EXPIRED
        assert take(signals(), 1, raw, now_ns=NOW_NS + TTL_NS - 11).verdict is Verdict.ACCEPTED

    def test_a_signal_under_another_users_key_is_misaddressed(self) -> None:
        """It moves nothing: neither the key's user nor the body's."""
        rules = signals()

        assert rules.take(1, b"user-2", signal_bytes(), None).verdict is Verdict.MISADDRESSED
        assert rules.sequences == {}

    def test_a_void_signal_moves_nothing(self) -> None:
        """The numbers of dropped batches must not leak into the next owner's."""
        rules = signals()
        rules.take(1, CLAIM_KEY, b"{}", None)

        assert take(rules, 2, signal_bytes(sequence=7, epoch=0)).verdict is Verdict.VOID
        assert (rules.sequences, rules.cursor, rules.slots) == ({}, {}, {})

    def test_a_forged_id_is_found_by_the_strict_reader_only(self) -> None:
        """Re-deriving costs time, so a reader chooses."""
        forged = signal_bytes().replace(b'"account_id":"main"', b'"account_id":"other"')

        assert take(signals(), 1, forged).verdict is Verdict.ACCEPTED
        reading = take(signals(strict=True), 1, forged)
        assert reading.verdict is Verdict.FORGED
        assert "delivery_id should be" in reading.detail

    @pytest.mark.parametrize(
        "value", [None, b"", b"{}", signal_bytes().replace(b'"sequence":1', b'"sequence":"1"')]
    )
    def test_what_is_no_signal_is_undecodable(self, value: bytes | None) -> None:
        """Poison never raises, strict or not."""
        for strict in (False, True):
            assert signals(strict=strict).take(1, b"user-1", value, None).verdict is Verdict.UNDECODABLE

    def test_a_beat_with_a_broken_cursor_is_undecodable(self) -> None:
        """Control records are input too."""
        beat = encode(Beat(epoch=0, cursor={"x": 1}, now_ns=0))

        assert signals().take(1, BEAT_KEY, beat, None).verdict is Verdict.UNDECODABLE

    def test_the_cursor_never_goes_back(self) -> None:
        """A beat that was written before the last signal but landed after it moves nothing."""
        rules = signals()
        take(rules, 1, signal_bytes(source=(0, 5)))
        rules.take(2, BEAT_KEY, encode(Beat(epoch=0, cursor={"0": 3, "1": 2}, now_ns=0)), None)

        assert rules.cursor == {0: 6, 1: 2}

    def test_a_void_beat_does_not_move_the_cursor(self) -> None:
        """A zombie's beat would let the next owner skip slots."""
        rules = signals()
        rules.take(1, CLAIM_KEY, b"{}", None)
        rules.take(2, BEAT_KEY, encode(Beat(epoch=0, cursor={"0": 50}, now_ns=0)), None)
        rules.take(3, BEAT_KEY, encode(Beat(epoch=1, cursor={"0": 20}, now_ns=0)), None)

        assert rules.cursor == {0: 20}


class TestRestore:
    """The fold that a new owner of users restores from."""

    def undelivered(self, close_ms: int, source_offset: int) -> bytes:
        """A slot that nobody of the partition got."""
        return encode(
            Undelivered(
                epoch=0,
                signal_id=slot(close_ms).signal_id,
                strategy="alpha@1",
                symbol="EURUSD",
                horizon_ms=60_000,
                bar_close_ms=close_ms,
                source_partition=0,
                source_offset=source_offset,
                reason=UndeliveredReason.NO_OWNER,
                subscription_offset=3,
                count=2,
                now_ns=NOW_NS,
            )
        )

    def test_an_open_slot_keeps_the_cursor_and_names_what_is_already_valid(self) -> None:
        """A restorer projects only the rest, at the same subscription offset."""
        rules = signals()
        raw = signal_bytes(part=(1, 2), source=(0, 5))
        take(rules, 1, raw)

        assert rules.open_slot is not None
        series, open_slot = rules.open_slot
        assert (series, open_slot.source, open_slot.subscription_offset) == (SERIES, (0, 5), 7)
        assert open_slot.deliveries == {orjson.loads(raw)["delivery_id"]}
        assert rules.cursor == {0: 5}

    def test_the_last_part_completes_the_slot(self) -> None:
        """Then the cursor moves past its prediction."""
        rules = signals()
        take(rules, 1, signal_bytes(part=(1, 2), source=(0, 5)))
        last = take(rules, 2, signal_bytes(user_id="user-2", part=(2, 2), source=(0, 5)))

        assert last.verdict is Verdict.ACCEPTED
        assert (rules.open_slot, rules.cursor) == (None, {0: 6})

    def test_an_undelivered_record_closes_the_rest_of_a_slot(self) -> None:
        """It consumes no number, moves cursor and series, and what comes after it is repeated."""
        rules = signals()
        take(rules, 1, signal_bytes(part=(1, 2), source=(0, 5)))
        control = rules.take(2, UNDELIVERED_KEY, self.undelivered(CLOSE_MS, 5), None)

        assert control.verdict is Verdict.CONTROL
        assert (rules.open_slot, rules.cursor, rules.sequences) == (None, {0: 6}, {"user-1": 1})
        again = rules.take(3, UNDELIVERED_KEY, self.undelivered(CLOSE_MS, 5), None)
        assert again.verdict is Verdict.REPEATED
        late = signal_bytes(user_id="user-2", part=(2, 2), source=(0, 5))
        assert take(rules, 4, late).verdict is Verdict.REPEATED

    def test_an_undelivered_record_of_an_older_slot_is_out_of_order(self) -> None:
        """It neither reopens the series nor moves it back."""
        rules = signals()
        take(rules, 1, signal_bytes(close_ms=LATER_MS, source=(0, 6)))

        late = rules.take(2, UNDELIVERED_KEY, self.undelivered(CLOSE_MS, 5), None)
        assert late.verdict is Verdict.OUT_OF_ORDER
        assert (rules.series, rules.cursor) == ({SERIES: LATER_MS}, {0: 7})

    def test_a_fold_resumed_from_its_checkpoint_goes_on_as_if_it_had_read_all(self) -> None:
        """Restoring from the checkpoint and from the beginning give the same state and the same verdicts."""
        whole = signals()
        take(whole, 1, signal_bytes(sequence=1, source=(2, 5)))
        saved = whole.checkpoint(epoch=0, claims=(0,), now_ns=NOW_NS)
        resumed = SignalRules.resumed(EpochFilter(saved.claims), saved)

        rest = [signal_bytes(sequence=2), signal_bytes(sequence=3, close_ms=LATER_MS, source=(2, 6))]
        verdicts = [
            [take(rules, 2 + i, raw).verdict for i, raw in enumerate(rest)] for rules in (whole, resumed)
        ]
        assert verdicts[0] == verdicts[1] == [Verdict.REPEATED, Verdict.ACCEPTED]
        assert (whole.sequences, whole.series, whole.cursor) == (
            resumed.sequences,
            resumed.series,
            resumed.cursor,
        )

    def test_no_checkpoint_is_made_while_a_slot_is_open(self) -> None:
        """It would forget which deliveries are already valid."""
        rules = signals()
        take(rules, 1, signal_bytes(part=(1, 2)))

        with pytest.raises(ValueError, match="checkpoint between slots"):
            rules.checkpoint(epoch=0, claims=(0,), now_ns=NOW_NS)
