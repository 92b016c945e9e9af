"""docs/your-own-routing-plugin.md works as written: its blocks make a plugin that decides."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "your-own-routing-plugin.md").read_text()
UNION = "routing/scorers/__init__.py"
MODULE = "routing/scorers/fast_enough.py"
TEST = "tests/unit/routing/test_fast_enough.py"
PROFILES = "config/profiles.yaml"

CHOOSE = """
import sys
from pathlib import Path
from random import Random

from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.profiles import load_profiles
from tests.support.cards import a_card
from tests.unit.routing.worlds import START_MS, a_table, holding, wants

NOW_NS = START_MS * 1_000_000
CARDS = [
    a_card("quick", warm_ms=2.0, skill=0.01),
    a_card("good", warm_ms=15.0, skill=0.05),
    a_card("best", warm_ms=200.0, skill=0.09),
]
profiles = load_profiles(Path(sys.argv[1]).read_text())
load = a_table({"a": holding(*CARDS)}).snapshot(NOW_NS)
for name in ("performance_optimized", "good_enough", "accuracy_optimized"):
    decision = Engine(profiles).decide(
        wants(profile=name), Catalogue.of(CARDS, version=1), load, now_ns=NOW_NS, rng=Random(1)
    )
    print(decision.chosen.name, decision.reason)
"""


def blocks() -> dict[str, str]:
    """The page's blocks by the path that stands before each."""
    found = re.findall(r"`([\w./]+)`:\n\n```\w+\n(.*?)```\n", PAGE, flags=re.DOTALL)
    return dict(found)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what routing needs, with the page's blocks put where it says."""
    for floor in ("models", "routing", "tests/support"):
        shutil.copytree(ROOT / floor, tmp_path / floor, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("tests/__init__.py", "tests/unit/__init__.py", "tests/unit/routing/__init__.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    shutil.copy(ROOT / "tests/unit/routing/worlds.py", tmp_path / "tests/unit/routing")
    for path in (MODULE, UNION, TEST):
        (tmp_path / path).write_text(blocks()[path])
    (tmp_path / "profiles.yaml").write_text(merged(blocks()[PROFILES]))
    return tmp_path


def merged(addition: str) -> str:
    """The shipped profiles and those of the page."""
    shipped, added = yaml.safe_load((ROOT / PROFILES).read_text()), yaml.safe_load(addition)
    return yaml.safe_dump(
        {
            "plugins": [*shipped["plugins"], *added["plugins"]],
            "profiles": shipped["profiles"] | added["profiles"],
        }
    )


def run(checkout: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy, and on nothing else of ours."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_page_shows_the_union_as_it_is() -> None:
    """But for the new plugin the file on the page is the file in the repository."""
    ours, theirs = (ROOT / UNION).read_text().splitlines(), blocks()[UNION].splitlines()

    assert [line for line in theirs if line not in ours] == [
        "from routing.scorers.fast_enough import FastEnoughScorer",
        "LiveScorerPlugin = CompletionScorer | FastEnoughScorer",
    ]
    assert [line for line in ours if line not in theirs] == ["LiveScorerPlugin = CompletionScorer"]


def test_page_documents_the_plugin_as_others_are() -> None:
    """Its README section has the headings of every other section."""
    headings = re.findall(r"- \*\*([\w ]+)\*\*", blocks()["routing/scorers/README.md"])
    shipped = (ROOT / "routing/scorers/README.md").read_text()

    assert headings == re.findall(r"- \*\*([\w ]+)\*\*", shipped)[: len(headings)]


def test_plugin_decides(checkout: Path) -> None:
    """The new profile takes the best of those that are fast enough, where others take the extremes."""
    (checkout / "choose.py").write_text(CHOOSE)
    done = run(checkout, "choose.py", "profiles.yaml")

    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["quick", "good", "best"]
    assert "fast_enough" in done.stdout


def test_its_own_test_passes(checkout: Path) -> None:
    """The test of the page is a test, and it passes."""
    done = run(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", TEST)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_mistake_in_its_parameter_is_named(checkout: Path) -> None:
    """The message that the page quotes is the message."""
    (checkout / "wrong.yaml").write_text(blocks()[PROFILES].replace("target_ms: 20", "target_ms: 0"))
    load = "from pathlib import Path; from routing.profiles import load_profiles; "
    done = run(checkout, "-c", load + "load_profiles(Path('wrong.yaml').read_text())")

    assert done.returncode != 0
    quoted = "profiles.yaml: plugins.0.fast_enough.target_ms: Input should be greater than 0"
    assert quoted in done.stderr
    assert quoted in PAGE.replace("\n", " ")
