"""The locks: every package pinned with hashes, no index named, all cut from one resolution."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LOCKS = sorted((Path(__file__).parents[3] / "requirements").glob("*.txt"))
PIN = re.compile(r"^([a-z0-9._-]+(?:\[[a-z,]+\])?)==(\S+)(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


def pins(lock: Path) -> set[tuple[str, str]]:
    """The pairs of name and version a lock holds."""
    return {(name, version) for name, version, _ in PIN.findall(lock.read_text())}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_carries_a_hash_and_no_line_an_address(lock: Path) -> None:
    """An installation from a lock gets exactly what was resolved, from whatever index the installer knows."""
    text = lock.read_text()
    found = PIN.findall(text)
    assert found
    assert [name for name, _, rest in found if "--hash=sha256:" not in rest] == []
    assert "://" not in text
    assert "--index" not in text


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_smaller_locks_are_cut_from_the_largest(lock: Path) -> None:
    """The tests run on the versions that the demo and the image get."""
    dev = LOCKS[0].with_name("dev.txt")
    names = {name for name, _ in pins(dev)}
    assert {pin for pin in pins(lock) if pin[0] in names} <= pins(dev)
