"""A client of the hub's stream that goes on where it was, for the command and as an example."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from serve_app.client import Refused

PATH: Final = "/api/v1/stream"
_FINAL: Final = frozenset({4400, 4401, 4403})
"""Close codes after which the same token gets no further."""
_AGAIN: Final = frozenset({429, 502, 503, 504})
_PAUSE_S: Final = (0.2, 5.0)


class SignalStream:
    """One user's signals, and the notes between them, through every reconnection. `last` is the last sequence
    that came; None takes what comes from now on.
    """

    def __init__(self, url: str, token: str, *, since: int | None, account: str | None, rng: Random) -> None:
        self._url = "ws" + url.removeprefix("http") + PATH
        self._headers = {"Authorization": f"Bearer {token}"}
        self._account = account
        self._rng = rng
        self.last = since

    async def frames(self) -> AsyncIterator[dict[str, Any]]:
        """Every frame once, in order. Refused when the hub will not have this caller, or is not there at all
        at the first attempt.
        """
        pause_s, reached = _PAUSE_S[0], False
        while True:
            try:
                async with connect(
                    self._address(), additional_headers=self._headers, compression=None
                ) as socket:
                    pause_s, reached = _PAUSE_S[0], True
                    async for text in socket:
                        yield self._taken(orjson.loads(text))
            except ConnectionClosed as closed:
                _go_on_after(closed)
            except InvalidStatus as answer:
                _go_on_despite(answer)
            except (OSError, InvalidHandshake) as error:
                if not reached:
                    raise Refused(f"no hub answers at {self._url}: {error}") from error
            await asyncio.sleep(pause_s * (0.5 + self._rng.random()))
            pause_s = min(2 * pause_s, _PAUSE_S[1])

    def _address(self) -> str:
        query = {"since_seq": self.last, "account": self._account}
        return f"{self._url}?{urlencode({name: value for name, value in query.items() if value is not None})}"

    def _taken(self, frame: dict[str, Any]) -> dict[str, Any]:
        reached = {"beat": "last_sequence", "skipped": "to", "gap": None}.get(
            frame.get("type", ""), "sequence"
        )
        if reached:
            self.last = frame[reached]
        return frame


def _go_on_after(closed: ConnectionClosed) -> None:
    if closed.rcvd and closed.rcvd.code in _FINAL:
        raise Refused(closed.rcvd.reason) from closed


def _go_on_despite(answer: InvalidStatus) -> None:
    response = answer.response
    if response.status_code not in _AGAIN:
        raise Refused(
            f"the hub answered {response.status_code}: {(response.body or b'').decode()[:300]}"
        ) from answer
