"""The session that commands act in: kept for one's own eyes, refreshed once, and told when it has ended."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from models.errors import ConfigError, Problem
from serve_app import login_session
from serve_app.client import Refused
from serve_app.commands.options import access
from serve_app.login_session import LoginState, access_token, remembered, session_file

URL = "http://hub.example:7000"


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


class Hub:
    """Answers refreshes as the hub does: each generation once, and a reuse ends the session."""

    def __init__(self) -> None:
        self.generation, self.ended, self.refreshes, self.logouts = 1, False, 0, 0
        self.lock = threading.Lock()
        self.transport = httpx2.MockTransport(self.answer)

    def pair(self) -> dict[str, Any]:
        """What is good now."""
        return {
            "access_token": f"access-{self.generation}",
            "refresh_token": f"refresh-{self.generation}",
            "expires_in": 300,
            "session_id": "s",
            "tenant_id": "acme",
            "user_id": "u-1",
        }

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """As `/auth/refresh` and `/auth/logout` do."""
        good = f"refresh-{self.generation}".encode() in request.read() and not self.ended
        with self.lock:
            if request.url.path.endswith("/logout"):
                self.logouts += good
            elif good:
                self.refreshes += 1
                self.generation += 1
                time.sleep(0.05)
                return httpx2.Response(200, json=self.pair())
            else:
                self.ended = True
        if good:
            return httpx2.Response(204)
        problem = Problem(
            type="t", title="t", status=401, detail="log in again", code="unauthenticated", retryable=False
        )
        headers = {"content-type": "application/problem+json"}
        return httpx2.Response(401, content=problem.model_dump_json(), headers=headers)


def log_in(hub: Hub, *, left_s: float = 300) -> None:
    """As `hub login` keeps it, with so many seconds left of the access token."""
    state = LoginState.of(hub.pair(), url=URL, login="ann")
    login_session.remember(state.model_copy(update={"good_until_s": time.time() + left_s}))


def test_nobody_else_can_read_the_session() -> None:
    """Neither the file nor what is printed of it by accident."""
    log_in(Hub())
    state = remembered()

    assert session_file().stat().st_mode & 0o777 == 0o600
    assert session_file().parent.stat().st_mode & 0o077 == 0
    assert "refresh-1" not in repr(state)
    assert "access-1" not in repr(state)
    assert [path.name for path in session_file().parent.glob("*.new")] == []


def test_a_good_token_is_used_and_one_that_ends_is_refreshed() -> None:
    """Before it ends; the next command finds the new one."""
    hub = Hub()
    log_in(hub)
    assert access_token(URL, transport=hub.transport) == "access-1"
    log_in(hub, left_s=5)

    assert access_token(URL, transport=hub.transport) == "access-2"
    assert access_token(URL, transport=hub.transport) == "access-2"
    assert hub.refreshes == 1


def test_commands_at_the_same_time_refresh_once() -> None:
    """Twice would be a reuse, and the session would end."""
    hub = Hub()
    log_in(hub, left_s=5)
    got: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: got.append(access_token(URL, transport=hub.transport)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert got == ["access-2"] * 8
    assert (hub.refreshes, hub.ended) == (1, False)


def test_a_session_that_has_ended_says_how_to_log_in_again() -> None:
    """Once; after that nobody is logged in."""
    hub = Hub()
    log_in(hub, left_s=5)
    hub.ended = True
    with pytest.raises(Refused, match="hub login --tenant acme ann"):
        access_token(URL, transport=hub.transport)

    assert access_token(URL, transport=hub.transport) is None


def test_a_hub_that_is_away_ends_no_session() -> None:
    """The command fails, and the next one can try again."""

    def away(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("no route")

    log_in(Hub(), left_s=5)
    with pytest.raises(Refused, match="no hub answers"):
        access_token(URL, transport=httpx2.MockTransport(away))

    assert remembered() is not None


def test_the_session_is_for_its_own_hub_and_behind_what_is_given() -> None:
    """A token for one hub is never sent to another; --token wins."""
    log_in(Hub())

    assert access_token("http://other.example:7000") is None
    assert access(None, None, None) == (URL, "access-1")
    assert access(URL, "mine", None) == (URL, "mine")


def test_after_a_logout_nobody_is_logged_in() -> None:
    """Here and there; a second time it is no error."""
    hub = Hub()
    log_in(hub)
    was = login_session.end(transport=hub.transport)

    assert was is not None
    assert (was.login, hub.logouts) == ("ann", 1)
    assert remembered() is None
    assert login_session.end(transport=hub.transport) is None


def test_a_session_that_cannot_be_read_is_named() -> None:
    """Rather than taken for nobody."""
    log_in(Hub())
    session_file().write_text("{")
    with pytest.raises(ConfigError, match=r"session\.json"):
        remembered()
