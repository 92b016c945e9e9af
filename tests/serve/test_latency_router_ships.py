"""An application that has nothing of the hub but what it ships runs the latency router."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = [pytest.mark.serve, pytest.mark.slow, pytest.mark.timeout(300)]

REPOSITORY: Final = Path(__file__).parents[2]
WHO_IMPORTED: Final = """
import os, pathlib
pathlib.Path({directory!r}, f"imported-by-{{os.getpid()}}").touch()
"""
AFTER_SHIPPING: Final = """
import runpy, shutil, tempfile
import ray

start = ray.init

def shipped(tries=3, **options):
    "Once the packages are uploaded nobody can import the originals any more."
    try:
        start(**options, address="local", num_cpus=4, include_dashboard=False,
              _temp_dir=tempfile.mkdtemp(prefix="ship-", dir="/tmp"))
    except Exception:  # on a busy machine a node may miss the time that Ray allows it
        ray.shutdown()
        if tries == 1:
            raise
        return shipped(tries - 1, **options)
    shutil.rmtree("routing")
    shutil.rmtree("models")

ray.init = shipped
runpy.run_path("app.py", run_name="__main__")
"""


def test_two_packages_are_all_that_callers_need(tmp_path: Path) -> None:
    """The documented example answers although `routing` and `models` exist only as what was shipped."""
    for package in ("models", "routing", "deployments/router"):
        shutil.copytree(
            REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(REPOSITORY / "deployments" / "__init__.py", tmp_path / "deployments")
    shutil.copy(REPOSITORY / "examples" / "latency_router" / "app.py", tmp_path)
    with (tmp_path / "routing" / "ticketless" / "choice.py").open("r+") as shipped:  # never a new file
        shipped.seek(0, os.SEEK_END)
        shipped.write(WHO_IMPORTED.format(directory=str(tmp_path)))
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": ""}

    ran = subprocess.run(
        [sys.executable, "-c", AFTER_SHIPPING],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    assert ran.returncode == 0, ran.stderr[-4000:]
    assert "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]" in ran.stdout
    assert len(list(tmp_path.glob("imported-by-*"))) >= 2, "the caller's process imported something else"
