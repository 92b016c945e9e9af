"""`EffectStore` in this process: for tests, and for services whose effects need not outlive them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deployments.reader.ports import Effect, Settled
from models.errors import StaleWriter


class MemoryEffects:
    """`effects` holds all of them by partition, in the order in which they were put down."""

    def __init__(self) -> None:
        self.effects: list[tuple[int, Effect]] = []
        self._settled: dict[int, Settled] = {}
        self._done: set[str] = set()

    async def load(self, partition: int) -> Settled | None:
        """See `EffectStore.load`."""
        return self._settled.get(partition)

    async def apply(
        self, partition: int, effects: Sequence[Effect], settled: Settled, *, after: int | None
    ) -> None:
        """See `EffectStore.apply`; nothing here awaits, so nothing can come between."""
        before = self._settled.get(partition)
        if (before.position if before else None) != after:
            raise StaleWriter(f"partition {partition} is not at {after} any more: another reader was here")
        sequences = {**(before.sequences if before else {}), **settled.sequences}
        self._settled[partition] = replace(settled, sequences=sequences)
        for effect in effects:
            if effect.signal.delivery_id not in self._done:
                self._done.add(effect.signal.delivery_id)
                self.effects.append((partition, effect))

    async def close(self) -> None:
        """Nothing to give back."""
