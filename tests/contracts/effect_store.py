"""What every `EffectStore` must do; `test_effect_store.py` runs it on memory and on SQLite."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deployments.reader.ports import Effect, EffectStore, Outcome, Settled, SlotState
from models.errors import StaleWriter
from models.signal import Signal
from tests.unit.signals.records import NOW_NS, signal_bytes

Listed = Callable[[EffectStore], list[tuple[int, int, Outcome]]]
SERIES = ("alpha@1", "EURUSD", 60_000)


def effect(user: str, offset: int, outcome: Outcome = Outcome.ACTED) -> Effect:
    """An effect of the user's one signal."""
    signal = Signal.model_validate_json(signal_bytes(user_id=user))
    return Effect(outcome, signal, offset, NOW_NS, "why")


def settled(position: int, sequences: dict[str, int] | None = None) -> Settled:
    """A place with an open slot and a sealed one."""
    slots = {
        SERIES: SlotState(20_000, (1, 2), sealed=False, deliveries=frozenset({"d1", "d2"})),
        ("beta@1", "NZDUSD", 60_000): SlotState(10_000, (1, 1), sealed=True),
    }
    return Settled(position, (0, 7), sequences or {}, slots)


class EffectStoreContract:
    """Subclasses give the fixtures `store`, and `listed`: partition, offset and outcome of all effects."""

    async def test_an_untouched_partition_has_no_place(self, store: EffectStore) -> None:
        """Whoever opens it begins where the configuration says."""
        assert await store.load(3) is None

    async def test_effects_and_place_come_back(self, store: EffectStore, listed: Listed) -> None:
        """Everything that `apply` was given, by partition."""
        await store.apply(3, [effect("u1", 5)], settled(6, {"u1": 1}), after=None)
        await store.apply(4, [effect("u2", 1, Outcome.EXPIRED)], settled(2, {"u2": 9}), after=None)

        assert await store.load(3) == settled(6, {"u1": 1})
        assert await store.load(4) == settled(2, {"u2": 9})
        assert listed(store) == [(3, 5, Outcome.ACTED), (4, 1, Outcome.EXPIRED)]

    async def test_users_who_are_not_named_stay_where_they_were(self, store: EffectStore) -> None:
        """Only those who moved are written; slots and claims are always all of them."""
        await store.apply(3, [], settled(6, {"u1": 1, "u2": 4}), after=None)
        later = Settled(9, (8,), {"u2": 5}, {SERIES: SlotState(30_000, (1, 1), sealed=True)})
        await store.apply(3, [], later, after=6)

        assert await store.load(3) == Settled(9, (8,), {"u1": 1, "u2": 5}, later.slots)

    @pytest.mark.parametrize("after", [None, 5, 7])
    async def test_a_reader_that_was_overtaken_changes_nothing(
        self, store: EffectStore, listed: Listed, after: int | None
    ) -> None:
        """Another one has settled the partition further: this one's effects would be the second."""
        await store.apply(3, [], settled(6), after=None)

        with pytest.raises(StaleWriter):
            await store.apply(3, [effect("u1", 5)], settled(8, {"u1": 1}), after=after)
        assert await store.load(3) == settled(6)
        assert listed(store) == []

    async def test_a_place_that_should_be_there_and_is_not(self, store: EffectStore) -> None:
        """The store was lost, or is another one: nobody may go on as if nothing were."""
        with pytest.raises(StaleWriter):
            await store.apply(3, [], settled(8), after=6)

    async def test_a_delivery_has_one_effect(self, store: EffectStore, listed: Listed) -> None:
        """The last guard: whatever the rules let through, the first effect stands."""
        await store.apply(3, [effect("u1", 5)], settled(6), after=None)
        await store.apply(3, [effect("u1", 6, Outcome.EXPIRED)], settled(7), after=6)

        assert listed(store) == [(3, 5, Outcome.ACTED)]
        assert (await store.load(3) or settled(0)).position == 7
