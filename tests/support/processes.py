"""Processes of a hub that a test started: found below the test's own child, never by name alone."""

from __future__ import annotations

from pathlib import Path


def descendants(root: int) -> list[int]:
    """Every live process below `root`."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    found, queue = [], [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def replicas(root: int, deployment: str) -> list[int]:
    """Process ids of a deployment's replicas in the Ray that `root` started, by their process title."""
    return titled(root, f"ray::ServeReplica:hub:{deployment}")


def titled(root: int, words: str) -> list[int]:
    """Process ids below `root` whose title holds these words."""
    return sorted(pid for pid in descendants(root) if words in _title(pid))


def command_of(pid: int) -> list[str]:
    """The command line of a process."""
    return _read(Path(f"/proc/{pid}/cmdline")).split("\0")[:-1]


def _parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _read(entry / "stat")):
            found[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return found


def _title(pid: int) -> str:
    return _read(Path(f"/proc/{pid}/cmdline")).replace("\0", " ").strip()


def _read(path: Path) -> str:
    """A file of /proc, empty if the process ended meanwhile."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
