"""Which nats-server is new enough to hold its own permissions: the oldest patched one of each line.

Older ones let a denied queue group be joined, and worse: CVE-2026-33222, CVE-2026-33246, NATS advisories
2026-16 and 2026-18.
"""

from __future__ import annotations

from typing import Final

_PATCHED: Final = ((2, 11, 16), (2, 12, 7), (2, 14, 0))


def too_old(version: tuple[int, int, int]) -> str | None:
    """What to say of a server below the floor; None of one that is patched."""
    line = version[:2]
    if any(line == floor[:2] and version >= floor for floor in _PATCHED) or version >= _PATCHED[-1]:
        return None
    floors = ", ".join(".".join(map(str, floor)) for floor in _PATCHED)
    found = ".".join(map(str, version))
    return f"nats-server {found} has known holes in its permissions; run one of {floors} or newer"
