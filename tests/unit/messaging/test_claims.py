"""The epoch filter and the owner's steps, one rule at a time; `test_claims_machine` orders events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.claims import CLAIMS_KEPT, EpochFilter, OutOfTurn, Owner, Step

OFFSETS = st.integers(0, 60)


@given(claims=st.sets(OFFSETS, max_size=12), epoch=OFFSETS, offset=OFFSETS)
def test_a_record_is_void_iff_a_claim_lies_strictly_between_epoch_and_offset(
    claims: set[int], epoch: int, offset: int
) -> None:
    """The filter is the definition, whatever the order in which the claims were learnt."""
    known = EpochFilter(sorted(claims)[::2])
    for claim in sorted(claims, reverse=True):
        known.saw_claim(claim)

    assert known.valid(epoch=epoch, offset=offset) == (not any(epoch < claim < offset for claim in claims))


def test_a_filter_keeps_the_latest_claims() -> None:
    """Checkpoints stay small, and the last claim before the end is always among those kept."""
    known = EpochFilter(range(0, 10 * CLAIMS_KEPT, 5))
    known.saw_claim(10_000)

    assert len(known.claims) == CLAIMS_KEPT
    assert known.claims[-1] == 10_000
    assert not known.valid(epoch=9_999, offset=10_001)


def test_an_assignment_leads_to_publishing_by_probe_claim_and_restore() -> None:
    """The way of every owner when nothing fails; the epoch is the claim's offset."""
    owner = Owner()
    seen = [owner.step]
    owner.confirmed(held=True)
    seen.append(owner.step)
    owner.claimed(7)
    seen.append(owner.step)
    owner.restored(8)

    assert [*seen, owner.step] == [Step.PROBE, Step.CLAIM, Step.RESTORE, Step.PUBLISH]
    assert (owner.epoch, owner.expected, owner.live) == (7, 8, True)


def test_a_refused_probe_waits_for_the_next_assignment() -> None:
    """Only the group's word leads out of waiting, and it leads to another probe, not to a claim."""
    owner = Owner()
    owner.confirmed(held=False)
    waiting = owner.step
    owner.assigned()

    assert (waiting, owner.step) == (Step.WAIT, Step.PROBE)


def test_a_refusal_that_an_assignment_has_overtaken_is_asked_again() -> None:
    """Otherwise an owner would wait for an assignment that has already come."""
    owner = Owner()
    owner.assigned()
    owner.confirmed(held=False)
    asked_again = owner.step
    owner.confirmed(held=False)

    assert (asked_again, owner.step) == (Step.PROBE, Step.WAIT)


def test_an_assignment_changes_nothing_for_a_live_owner() -> None:
    """Publishing goes on through a rebalance."""
    owner = live_owner()
    owner.assigned()

    assert owner.step is Step.PUBLISH


def test_contiguous_acknowledgements_move_the_expected_offset() -> None:
    """The next batch must land right behind the last."""
    owner = live_owner(claim=7)
    owner.appending(3)
    owner.acked(8)

    assert (owner.step, owner.expected) == (Step.PUBLISH, 11)


@pytest.mark.parametrize(("claims", "then"), [([], Step.PUBLISH), ([9], Step.PROBE)])
def test_a_gap_is_judged_by_the_claims_in_it(claims: list[int], then: Step) -> None:
    """Void records in between are harmless; a foreign claim ends the ownership until the group confirms."""
    owner = live_owner(claim=7)
    owner.appending(2)
    owner.acked(10)
    gap = owner.gap
    owner.read_back(claims)

    assert (gap, owner.step, owner.expected) == ((8, 10), then, 12)


def test_an_acknowledgement_from_the_past_starts_over() -> None:
    """The broker has lost acknowledged records: nothing that is remembered can be trusted."""
    owner = live_owner(claim=7)
    owner.appending(1)
    owner.acked(4)

    assert owner.step is Step.PROBE


def test_a_doubtful_append_leads_through_a_rebuild_to_a_new_probe() -> None:
    """Never straight back to publishing or claiming."""
    owner = live_owner()
    owner.appending(1)
    owner.failed()
    rebuilding = owner.step
    owner.rebuilt()

    assert (rebuilding, owner.step, owner.live) == (Step.REBUILD, Step.PROBE, False)


def test_a_second_batch_in_flight_is_a_defect() -> None:
    """The driver is told at once."""
    owner = live_owner()
    owner.appending(1)

    with pytest.raises(OutOfTurn, match="settle"):
        owner.appending(1)


def test_a_restore_must_reach_the_claim() -> None:
    """A fold that ends before the claim may miss valid records."""
    owner = Owner()
    owner.confirmed(held=True)
    owner.claimed(7)

    with pytest.raises(OutOfTurn, match="does not reach the claim"):
        owner.restored(7)


def test_a_claim_needs_a_real_offset() -> None:
    """A producer without acknowledgements cannot own anything."""
    owner = Owner()
    owner.confirmed(held=True)

    with pytest.raises(OutOfTurn, match="acks=all"):
        owner.claimed(-1)


def live_owner(claim: int = 0) -> Owner:
    """An owner that has just restored."""
    owner = Owner()
    owner.confirmed(held=True)
    owner.claimed(claim)
    owner.restored(claim + 1)
    return owner
