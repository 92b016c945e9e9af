"""How many calls a process may have under way: the slots of replicas in use, and a little more.

Other processes use the same slots. Each gives way for a part of what it believes others have there: were it
all, the first to come would keep every place; were it nothing, queues on replicas would grow with the number
of processes. With a share `w`, n alike processes hold n / (1 + w (n - 1)) times the slots together: never
more than 1 / w times.
"""

from __future__ import annotations

from typing import NamedTuple

from routing.admission import AdmissionConfig
from routing.load import LoadSnapshot


class Usage(NamedTuple):
    """The slots of replicas that are in the choice, and the calls believed there, own ones included."""

    slots: int
    calls: float


def usage_of(load: LoadSnapshot, now_ns: int) -> Usage:
    """What the replicas that are not ejected now have and hold."""
    chosen = [
        number
        for number in range(len(load.placement.replicas))
        if number not in load.ejections or load.ejections[number].until_ns <= now_ns
    ]
    slots = sum(max(1, load.placement.metas[number].slots) for number in chosen)
    return Usage(slots, sum(load.standings[number].calls for number in chosen))


def places_for(usage: Usage, *, inside: int, config: AdmissionConfig) -> int:
    """Places for this process, which has `inside` calls under way itself; at least one."""
    foreign = max(0.0, usage.calls - inside)
    return max(1, round(usage.slots * (1.0 + config.ahead_share) - config.yield_share * foreign))
