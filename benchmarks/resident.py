"""How much memory each process below this one holds, told apart by name."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_RSS_PAGES: Final = 1
_TITLE: Final = re.compile(r"^ray::(?:ServeReplica:hub:)?([\w-]+)")
_PARTS: Final = {"kafka.Kafka": "kafka", "nats-server": "nats", "valkey-server": "valkey"}
_IDLE: Final = "IDLE"
"""Workers that Ray keeps in store: they come and go, and run nothing of ours."""


@dataclass
class Resident:
    """Samples over time: seconds since the start and, by process, its name and bytes."""

    samples: list[tuple[float, dict[int, tuple[str, int]]]] = field(default_factory=list)

    def sample(self, at_s: float) -> None:
        """Note what every process below this one holds now."""
        found = {pid: (name_of(_title(pid)), _rss(pid)) for pid in _below(os.getpid())}
        self.samples.append((at_s, {pid: one for pid, one in found.items() if one[0] != _IDLE and one[1]}))

    def growth(self, early: tuple[float, float], late: tuple[float, float]) -> Mapping[str, float]:
        """By name the mean memory in the late span over that in the early one; the worst of equal names.
        Processes that are not in both are left out.
        """
        before, after = self._means(early), self._means(late)
        found: dict[str, float] = {}
        for pid in before.keys() & after.keys():
            name, late_bytes = after[pid]
            found[name] = max(found.get(name, 0.0), late_bytes / before[pid][1])
        return dict(sorted(found.items()))

    def held_mb(self, span: tuple[float, float]) -> Mapping[str, float]:
        """By name the mean memory in a span, all processes of the name together."""
        found: dict[str, float] = defaultdict(float)
        for name, held in self._means(span).values():
            found[name] += held / 1e6
        return found

    def _means(self, span: tuple[float, float]) -> dict[int, tuple[str, float]]:
        held: dict[int, list[int]] = defaultdict(list)
        names: dict[int, str] = {}
        for at_s, processes in self.samples:
            if span[0] <= at_s < span[1]:
                for pid, (name, size) in processes.items():
                    held[pid].append(size)
                    names[pid] = name
        return {pid: (names[pid], sum(sizes) / len(sizes)) for pid, sizes in held.items()}


def name_of(command: Sequence[str]) -> str:
    """What a person calls the process with this command line."""
    words = " ".join(command)
    if title := _TITLE.match(words):
        return title.group(1)
    for part, name in _PARTS.items():
        if part in words:
            return name
    scripts = [Path(word).stem for word in command if word.endswith(".py")]
    return scripts[0] if scripts else Path(command[0]).name if command else ""


def _below(root: int) -> Iterator[int]:
    """Every live process below `root`."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _read(entry / "stat")):
            children[int(stat.rpartition(b")")[2].split()[1])].append(int(entry.name))
    queue = [root]
    while queue:
        for pid in children[queue.pop()]:
            queue.append(pid)
            yield pid


def _title(pid: int) -> list[str]:
    return [
        part.decode(errors="replace") for part in _read(Path(f"/proc/{pid}/cmdline")).split(b"\0") if part
    ]


def _rss(pid: int) -> int:
    words = _read(Path(f"/proc/{pid}/statm")).split()
    return int(words[_RSS_PAGES]) * _PAGE if words else 0


def _read(path: Path) -> bytes:
    """A file of /proc, empty if the process has ended."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
