"""What comes in over any wire is data: no decoder of it can run anything, and none tries (row S9)."""

from __future__ import annotations

import ast
import io
import pickle
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from deployments.front.limits import load_tiers
from inference.cards import CARD_FILE, read_card
from messaging.nats.codec import decode_bar, decode_clock, decode_tick
from models.envelope import Envelope
from models.errors import HubError
from models.request import InferAsk
from models.strategy import load_strategies
from routing.profiles import load_profiles
from routing.trials.experiments import load_experiments
from serve_app.contracts.records import kinds
from signals.encoding import decode_owed
from tests.unit.gateway.doubles import SECRET, SECRET_ENV, TestHub, make_hub

ROOT = Path(__file__).parents[3]
PACKAGES = (
    *("models", "routing", "signals", "inference", "messaging", "storage", "deployments", "serve_app"),
    "training",
)
RUNS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle", "torch"}
"""Modules whose readers run what they read."""


class Touches:
    """Pickled, it creates a file when somebody reads it."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._canary,)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that nobody may create."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "somebody ran what was sent"


def payloads(canary: Path) -> list[bytes]:
    """Pickles of every protocol, arrays of objects, tags of YAML, deep and wide bombs."""
    objects = io.BytesIO()
    np.savez(objects, window=np.array([Touches(canary)], dtype=object))
    tag = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.PosixPath ['{canary}']]"
    return [
        *(pickle.dumps(Touches(canary), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
        objects.getvalue(),
        tag.encode(),
        b'{"py/reduce": [{"py/type": "pathlib.Path.touch"}, {"py/tuple": ["x"]}]}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"\x0a" + b"\xff" * 10_000,
        b"\x12\xff\xff\xff\xff\x0f" + b"x" * 64,
        b"",
    ]


def test_that_the_payloads_bite(tmp_path: Path) -> None:
    """Where somebody does unpickle them they run: else the tests below could not fail."""
    pickle.loads(payloads(tmp_path / "bitten")[0])  # noqa: S301 - the point

    assert (tmp_path / "bitten").exists()


READERS: dict[str, Callable[[bytes], object]] = {
    **{
        f"record {name}": kind.type.from_record
        for name, kind in kinds().items()
        if hasattr(kind.type, "from_record")
    },
    "hub.predictions": decode_owed,
    "tick": lambda payload: decode_tick(payload, symbol="EURUSD"),
    "clock": decode_clock,
    "bar": decode_bar,
    "envelope": Envelope.decode,
    "request": InferAsk.model_validate_json,
}


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_what_a_broker_or_a_store_brings_is_refused(reader: str, canary: Path) -> None:
    """By every decoder, with an error that its caller knows."""
    for payload in payloads(canary):
        with pytest.raises((ValidationError, HubError)):
            READERS[reader](payload)


FILES: dict[str, Callable[[str], object]] = {
    "strategies": load_strategies,
    "profiles": load_profiles,
    "experiments": lambda text: load_experiments(text, profiles=["balanced"]),
    "tiers": load_tiers,
}


@pytest.mark.parametrize("reader", FILES, ids=str)
def test_a_tag_in_a_configuration_file_runs_nothing(reader: str, canary: Path) -> None:
    """It is refused as a value that nobody knows."""
    tag = f"a: !!python/object/apply:os.mknod ['{canary}']"
    with pytest.raises(HubError):
        FILES[reader](tag)


def test_a_tag_in_a_card_runs_nothing(tmp_path: Path, canary: Path) -> None:
    """Neither in one that lies in the repository."""
    tag = f"name: !!python/object/apply:os.mknod ['{canary}']"
    (tmp_path / CARD_FILE).write_text(tag)

    with pytest.raises(HubError):
        read_card(tmp_path)


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestHub]:
    """A hub on doubles."""
    monkeypatch.setenv(SECRET_ENV, SECRET)
    made = await make_hub(time.time_ns() // 10**9 * 10**9)
    async with made.client:
        yield made
    await made.bus.close()


async def test_what_is_sent_over_http_is_refused(hub: TestHub, canary: Path) -> None:
    """With a 4xx, whatever it claims to be."""
    for payload in payloads(canary):
        for kind in ("application/json", "application/octet-stream", "application/x-pickle"):
            headers = {**hub.auth(), "content-type": kind}
            answer = await hub.client.post("/api/v1/infer", content=payload, headers=headers)
            assert 400 <= answer.status_code < 500, (answer.status_code, payload[:40])


def test_nothing_of_ours_reads_code_from_data() -> None:
    """No module that runs what it reads, no `eval`, no arrays of objects, no unsafe YAML."""
    found = [
        f"{file.relative_to(ROOT)}:{line}: {what}"
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        for line, what in dangers(ast.parse(file.read_text()))
    ]

    assert found == []


def dangers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines that could run what they read."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, one.name) for one in names if one.name.split(".")[0] in RUNS)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in RUNS:
                yield node.lineno, module
            case ast.Call(func=ast.Name(id="eval" | "exec" | "__import__" as name)):
                yield node.lineno, name
            case ast.Call(func=ast.Attribute(value=ast.Name(id="yaml"), attr="load" | "unsafe_load" as name)):
                yield node.lineno, f"yaml.{name}"
            case ast.keyword(arg="allow_pickle", value=ast.Constant(value=True)):
                yield node.lineno, "allow_pickle"


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "yaml.load(text)",
        "np.load(f, allow_pickle=True)",
    ],
)
def test_that_the_scan_finds_what_is_planted(planted: str) -> None:
    """Each of the ways it looks for."""
    assert len(list(dangers(ast.parse(planted)))) == 1
