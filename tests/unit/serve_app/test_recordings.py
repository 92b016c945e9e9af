"""`hub record` and `hub replay` on a scripted hub: what ends in the file, and what is made of it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from models.errors import BadValue, ConfigError, HubError, Malformed, UnknownProfile
from serve_app.cli import app
from serve_app.client import HubClient, Refused
from serve_app.commands import recordings
from serve_app.recording_file import new_file, read_lines
from tests.unit.routing.taped import recorded
from tests.unit.routing.worlds import PROFILES_YAML

LINES = recorded(120)
Answer = Callable[[httpx2.Request], httpx2.Response]


def hub(*arguments: object) -> Result:
    """Run a command; errors of the hub come out as they are raised."""
    return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Answer]:
    """The hub's answers to come; the commands reach no other hub."""
    script: list[Answer] = []

    @contextmanager
    def client(*_: Any, admin: bool) -> Iterator[HubClient]:
        assert admin
        transport = httpx2.MockTransport(script.pop(0))
        with HubClient("http://hub", "token", transport=transport) as made:
            yield made

    monkeypatch.setattr(recordings, "client", client)
    return script


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_what_is_recorded_can_be_replayed(tmp_path: Path, answers: list[Answer], name: str) -> None:
    """From the hub's answer to the verdict, plain and compressed."""
    file = tmp_path / name
    asked: list[Any] = []

    def stream(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.method, request.url.path, json.loads(request.content)))
        return httpx2.Response(200, content=iter([b"".join(LINES[:50]), b"".join(LINES[50:])]))

    answers.append(stream)
    made, replayed = hub("record", file, "--seconds", "2"), hub("replay", file)

    assert asked == [("POST", "/api/v1/routing/recording", {"seconds": 2.0})]
    assert (made.exit_code, replayed.exit_code) == (0, 0)
    assert f"{len(LINES)} lines" in made.output
    assert "120 decisions reproduced, bit for bit" in replayed.output


@pytest.mark.parametrize("broken", [KeyboardInterrupt(), httpx2.ReadError("gone")])
def test_what_came_before_the_end_is_kept(
    tmp_path: Path, answers: list[Answer], broken: BaseException
) -> None:
    """Whether Ctrl-C ends the recording or the hub goes away."""
    file = tmp_path / "a.jsonl.gz"
    last = max(i for i, line in enumerate(LINES) if b'"kind":"decided"' in line)

    def stream() -> Iterator[bytes]:
        yield b"".join(LINES[: last + 1])[:-50]
        raise broken

    answers.append(lambda _: httpx2.Response(200, content=stream()))
    try:
        assert hub("record", file).exit_code == 0
    except Refused as refused:
        assert "broke off" in refused.message  # noqa: PT017 - the other case does not raise

    assert "119 decisions reproduced" in hub("replay", file).output


def test_a_refusal_leaves_no_file(tmp_path: Path, answers: list[Answer]) -> None:
    """The hub's own words, and nothing on disk."""
    problem = {
        "type": "urn:x",
        "title": "forbidden",
        "status": 403,
        "detail": "this needs the role `admin`",
        "code": "forbidden",
        "retryable": False,
    }
    media_type = {"content-type": "application/problem+json"}
    answers.append(lambda _: httpx2.Response(403, content=json.dumps(problem), headers=media_type))
    with pytest.raises(Refused, match="403 forbidden: this needs the role"):
        hub("record", tmp_path / "a.jsonl")

    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A file that is there, or whose name says that it is something else."""
    there = tmp_path / "a.jsonl"
    there.write_text("precious")
    for path in (there, tmp_path / "a.csv"):
        with pytest.raises(BadValue, match=path.name), new_file(path):
            pytest.fail("the file was opened")
    with pytest.raises(ConfigError, match="cannot be written"), new_file(tmp_path / "no" / "a.jsonl"):
        pytest.fail("the file was opened")

    assert there.read_text() == "precious"


def test_the_first_difference_is_shown(tmp_path: Path) -> None:
    """Exit code 1, with the decision and the field."""
    file, lines = tmp_path / "a.jsonl", list(LINES)
    decided = [i for i, line in enumerate(lines) if b'"kind":"decided"' in line]
    place = next(i for i in decided[10:] if b'"replica":"l0"' in lines[i])
    lines[place] = lines[place].replace(b'"replica":"l0"', b'"replica":"zz"')
    file.write_bytes(b"".join(lines))
    result = hub("replay", file)

    assert result.exit_code == 1
    assert "recorded 'zz'" in result.output


def test_another_profile_is_compared(tmp_path: Path) -> None:
    """By name, and from a file."""
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"".join(LINES))
    named = hub("replay", file, "--profile", "cost_optimized")
    from_file = hub("replay", file, "--profiles", PROFILES_YAML)

    assert (named.exit_code, from_file.exit_code) == (0, 0)
    for word in ("120 requests", "steady@1", "p_meet", "standard error", "first-order effect"):
        assert word in named.output
    assert "0.0% would have gone elsewhere" in from_file.output


@pytest.mark.parametrize(
    ("content", "options", "error"),
    [
        (b"", [], Malformed("line 1: this is no recording")),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), [], Malformed("line 1: this is no recording")),
        (b"".join(LINES[:9]) + b"{}\n", [], Malformed("line 10: ")),
        (LINES[0] + LINES[1], [], Malformed("holds no decision")),
        (b"".join(LINES), ["--profile", "fastest"], UnknownProfile("fastest")),
        (b"".join(LINES), ["--profiles", "nowhere.yaml"], ConfigError("nowhere.yaml does not exist")),
    ],
)
def test_what_cannot_be_replayed_says_why(
    tmp_path: Path, content: bytes, options: list[str], error: HubError
) -> None:
    """A foreign file, a broken line, no traffic, a profile that is not there."""
    file = tmp_path / "a.jsonl"
    file.write_bytes(content)
    with pytest.raises(type(error), match=error.message):
        hub("replay", file, *options)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigError, match="does not exist"):
        hub("replay", tmp_path / "none.jsonl")


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_compressed_file_may_be_cut_off(tmp_path: Path, keep: float) -> None:
    """Its whole lines are read, and each tells how much of the file was taken."""
    file = tmp_path / "a.jsonl.gz"
    whole = gzip.compress(b"".join(LINES))
    file.write_bytes(whole[: int(len(whole) * keep)])
    taken: list[int] = []
    lines = list(read_lines(file, taken.append))

    assert 5 < len(lines) < len(LINES)
    assert lines[:-1] == LINES[: len(lines) - 1]
    assert taken == sorted(taken)
    assert taken[-1] <= file.stat().st_size
