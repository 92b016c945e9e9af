"""How many calls a process may have under way: by Little's law so many that the slots are busy, and no more.

A slot is busy while a call runs and idle while the next is on its way, so it takes

    places = slots * (time of a call outside the replica's queue) / (service time)

both measured from replies. Other processes use the same slots, so each gives way for most of what it believes
others to have there: were it all, the first to come would keep every place; were it nothing, queues on
replicas would grow with the number of processes. With the share `w`, n alike processes settle at equal parts,
together n / (1 + w (n - 1)) times the places of one alone.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from pydantic import Field

from models.base import Frozen
from routing.load import LoadSnapshot

_GAIN: Final = 0.05


class PlacesConfig(Frozen):
    """`ahead_share` is how many calls more than that, as a share, may wait on replicas so that no slot idles;
    `most_per_slot` bounds what the way may add; `smoothing` is the part of a change that is followed at once.
    """

    ahead_share: Annotated[float, Field(ge=0, le=4)] = 0.0
    yield_share: Annotated[float, Field(ge=0, le=1)] = 0.95
    most_per_slot: Annotated[float, Field(ge=1)] = 16.0
    smoothing: Annotated[float, Field(gt=0, le=1)] = 0.1


class Usage(NamedTuple):
    """The slots of the replicas that are in the choice, and the calls believed there, own ones included."""

    slots: int
    calls: float


def usage_of(load: LoadSnapshot, now_ns: int, *, aside: str = "") -> Usage:
    """What the replicas that are not ejected now have and hold, but for those of the pool `aside`: it makes
    its answers of calls to the others.
    """
    ejections, metas = load.ejections, load.placement.metas
    chosen = [
        number
        for number in range(len(metas))
        if metas[number].pool != aside and (number not in ejections or ejections[number].until_ns <= now_ns)
    ]
    slots = sum(max(1, metas[number].slots) for number in chosen)
    return Usage(slots, sum(load.standings[number].calls for number in chosen))


class Places:
    """The places of one process. Belongs to one thread."""

    def __init__(self, config: PlacesConfig) -> None:
        self._config = config
        self._call_ms = 0.0
        self._service_ms = 0.0
        self._places = 0.0

    @property
    def now(self) -> int:
        """How many may be under way; at least one."""
        return max(1, round(self._places))

    def answered(self, *, elapsed_ms: float, queue_ms: float, service_ms: float) -> None:
        """Learn from a reply that took `elapsed_ms` in all."""
        gain = _GAIN if self._service_ms else 1.0
        self._call_ms += gain * (max(service_ms, elapsed_ms - queue_ms) - self._call_ms)
        self._service_ms += gain * (service_ms - self._service_ms)

    def follow(self, usage: Usage, *, inside: int) -> None:
        """Take a step towards what the slots and other processes leave to one with `inside` calls there."""
        config = self._config
        foreign = max(0.0, usage.calls - inside)
        room = usage.slots * self._per_slot() * (1.0 + config.ahead_share)
        aim = max(1.0, room - config.yield_share * foreign)
        self._places += (aim - self._places) * (config.smoothing if self._places else 1.0)

    def _per_slot(self) -> float:
        """Calls under way that keep one slot busy."""
        if not self._service_ms:
            return 1.0
        return min(self._config.most_per_slot, self._call_ms / self._service_ms)
