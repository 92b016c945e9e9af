"""The one object of a process that says what it believes of every replica.

Serve's router thread writes which replicas there are, the routed client writes what became of its calls. Both
must reach the same object, and Serve copies the router's own module by value: hence a module of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from models.card import WarmProfile
from routing.load import LoadTable, ReplicaMeta

TABLE: Final = LoadTable()
_PROFILES: Final = 1 << 14


Said = Mapping[str, Any]
"""What a replica told Serve: by `record_replica_metadata` once, by `record_routing_stats` since."""


def publish(pool: str, replicas: Iterable[tuple[str, Said | None, Said | None]]) -> None:
    """Tell the table which replicas a pool has now, with what each said of itself at its start and since."""
    known = [(name, replica_meta(said, since or {})) for name, said, since in replicas if said]
    TABLE.replicas_updated(pool, known, now_ns=time.time_ns())


def unreachable(replica: str) -> None:
    """Tell the table that a replica is listed but does not answer, as a dead one is for some seconds."""
    TABLE.unreachable(replica, now_ns=time.time_ns())


def replica_meta(said: Said, since: Said) -> ReplicaMeta:
    """The same, typed again."""
    return ReplicaMeta(
        pool=said["pool"],
        hardware=said["hardware"],
        slots=said["slots"],
        models={
            name: [_profile(**profile) for profile in profiles]
            for name, profiles in {**said["models"], **since.get("models", {})}.items()
        },
        cold=frozenset(since.get("cold", ())),
    )


@lru_cache(_PROFILES)
def _profile(**fields: Any) -> WarmProfile:
    """Kept: whenever a replica loads a model, all of its pool say again what all of theirs are."""
    return WarmProfile(**fields)
