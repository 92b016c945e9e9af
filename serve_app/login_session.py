"""The session that `hub login` began, so that other commands act for who logged in.

One file beside `hub.json`, for the user's eyes only. Access tokens live for minutes, so commands refresh them
by themselves, one at a time: a refresh token that is used twice would end the session.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
from pydantic import Field, ValidationError

from models.base import Frozen
from models.errors import ConfigError
from serve_app.client import HubClient, Refused
from serve_app.private_file import write_private
from serve_app.runfile import run_file

AUTH: Final = "/api/v1/control/auth"
_EARLY_S: Final = 30.0
"""An access token is refreshed so long before its end: clocks differ, and requests take time."""


class LoginState(Frozen):
    """Who is logged in where; `good_until_s` is when the access token ends."""

    url: str
    tenant_id: str
    user_id: str
    login: str
    session_id: str
    access_token: Annotated[str, Field(repr=False)]
    refresh_token: Annotated[str, Field(repr=False)]
    good_until_s: float

    @classmethod
    def of(cls, pair: dict[str, Any], *, url: str, login: str) -> LoginState:
        """What a login or a refresh answered a moment ago."""
        return cls(
            url=url,
            tenant_id=pair["tenant_id"],
            user_id=pair["user_id"],
            login=login,
            session_id=pair["session_id"],
            access_token=pair["access_token"],
            refresh_token=pair["refresh_token"],
            good_until_s=time.time() + pair["expires_in"],
        )


def session_file() -> Path:
    """`$XDG_STATE_HOME/central-hub/session.json`."""
    return run_file().with_name("session.json")


def remembered() -> LoginState | None:
    """Who is logged in, if anybody is."""
    try:
        return LoginState.model_validate_json(session_file().read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ConfigError(f"{session_file()} cannot be read; delete it and log in again") from error


def remember(state: LoginState) -> None:
    """Keep it, whole or not at all, and never readable by others."""
    write_private(session_file(), state.model_dump_json())


def forget() -> None:
    """Nobody is logged in any more; nothing happens if nobody was."""
    session_file().unlink(missing_ok=True)


def access_token(url: str, *, transport: httpx2.BaseTransport | None = None) -> str | None:
    """A good access token for this hub; None if nobody is logged in there, Refused if the session ended."""
    state = remembered()
    if state is None or state.url != url:
        return None
    if state.good_until_s - time.time() > _EARLY_S:
        return state.access_token
    with _alone():
        state = remembered() or state  # another command may have refreshed it meanwhile
        if state.good_until_s - time.time() > _EARLY_S:
            return state.access_token
        return _refreshed(state, transport).access_token


def end(*, transport: httpx2.BaseTransport | None = None) -> LoginState | None:
    """Log out, there and here; who was logged in. A session that has ended by itself is no error."""
    with _alone():
        state = remembered()
        if state is None:
            return None
        forget()
        try:
            with HubClient(state.url, None, transport=transport) as hub:
                hub.call("POST", f"{AUTH}/logout", body={"refresh_token": state.refresh_token})
        except Refused as error:
            if not error.message.startswith("401"):
                raise
        return state


def _refreshed(state: LoginState, transport: httpx2.BaseTransport | None) -> LoginState:
    try:
        with HubClient(state.url, None, transport=transport) as hub:
            pair = hub.call("POST", f"{AUTH}/refresh", body={"refresh_token": state.refresh_token})
    except Refused as error:
        if not error.message.startswith("401"):
            raise
        forget()
        raise Refused(
            f"your session has ended; log in again: hub login --tenant {state.tenant_id} {state.login}"
        ) from error
    following = LoginState.of(pair, url=state.url, login=state.login)
    remember(following)
    return following


@contextmanager
def _alone() -> Iterator[None]:
    """No other command refreshes meanwhile; a command that dies lets go."""
    path = session_file().with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
