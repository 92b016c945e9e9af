"""Which sockets want whose signals, and how many a user may open."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from deployments.front.limits import LimitsView
from deployments.stream.session import Session
from messaging.ports import LogRecord
from models.errors import RateLimited
from models.principal import Principal
from signals.reader import SignalHead

_RETRY_AFTER_S: Final = 5.0


class Switchboard:
    """The open sessions by the key of their user's records. A record goes to sessions of its own user only:
    by the key it has in the log, and by user and tenant in its body.
    """

    def __init__(self) -> None:
        self._sessions: defaultdict[bytes, set[Session]] = defaultdict(set)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Session]:
        return (session for sessions in list(self._sessions.values()) for session in list(sessions))

    def wants(self, key: bytes) -> bool:
        """Whether a socket of this user is open."""
        return key in self._sessions

    def join(self, session: Session) -> None:
        """Hand it its user's records from now on."""
        self._sessions[session.key].add(session)
        self._count += 1

    def leave(self, session: Session) -> None:
        """No longer."""
        sessions = self._sessions[session.key]
        sessions.discard(session)
        self._count -= 1
        if not sessions:
            del self._sessions[session.key]

    def hand(self, record: LogRecord, head: SignalHead) -> None:
        """A valid signal, to those of its user who are there."""
        for session in self._sessions.get(record.key, ()):
            if mine(session.principal, head):
                session.take(record, head)


def mine(principal: Principal, head: SignalHead) -> bool:
    """Whether the signal says of itself that it is this caller's."""
    return principal.user_id == head.user_id and principal.tenant_id == head.tenant_id


class SocketLimits:
    """How many sockets a user may have open on this replica: its share of what the tier allows, so that all
    replicas together never grant more. A share is at least one.
    """

    def __init__(self, limits: LimitsView, *, replicas: int) -> None:
        self._limits = limits
        self._replicas = replicas
        self._open: Counter[tuple[str, str]] = Counter()

    def take(self, principal: Principal) -> None:
        """Count one more socket; RateLimited if that is one too many."""
        share, user = self._share(principal), (principal.tenant_id, principal.user_id)
        if self._open[user] >= share:
            raise RateLimited(
                f"your tier allows {share} open streams here; close one first",
                retry_after_s=_RETRY_AFTER_S,
                details={"sockets": share},
            )
        self._open[user] += 1

    def _share(self, principal: Principal) -> int:
        allowed = self._limits.of(principal.tenant_id, principal.tier).sockets
        return max(1, allowed // self._replicas) if allowed else 0

    def give_back(self, principal: Principal) -> None:
        """One is closed."""
        user = principal.tenant_id, principal.user_id
        self._open[user] -= 1
        if not self._open[user]:
            del self._open[user]
