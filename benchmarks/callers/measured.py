"""What a caller measured: plain data, which travels between processes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass
class Measured:
    """Latencies of answers in ms, open loop from the moment a call was due; how many were answered in the
    caller's own process, and how many not at all. `lags_ms`: how late the caller's loop ran.
    """

    seconds: float
    latencies_ms: list[float] = field(default_factory=list)
    local: int = 0
    failed: int = 0
    lags_ms: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds

    @property
    def local_share(self) -> float:
        return self.local / max(1, len(self.latencies_ms))

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, said: dict[str, Any]) -> Self:
        return cls(**said)
