"""A disk that is full soon: a small file system in memory, where one may be mounted (as root on Linux)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(at: Path, *, mib: int) -> Iterator[Path]:
    """The directory, with so much room; skips the test where nobody may mount."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("a full disk needs `mount`")
    at.mkdir(parents=True)
    command = [mount, "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(at)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a full disk needs the right to mount one: {mounted.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run([umount, "--lazy", str(at)], check=True)
