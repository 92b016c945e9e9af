"""A small client of the hub's HTTP API, for the commands and as an example."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx2

from models.errors import HubError, Problem


class Refused(HubError):
    """The hub answered with a problem."""

    code = "refused"


class HubClient:
    """Sends one caller's requests; every answer that is not 2xx becomes Refused with the hub's own words."""

    def __init__(self, url: str, token: str | None, *, transport: httpx2.BaseTransport | None = None) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=30.0, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(self, method: str, path: str, *, query: dict[str, Any] | None = None, body: Any = None) -> Any:
        """The parsed JSON answer, None for an empty one."""
        try:
            answer = self._http.request(method, path, params=query, json=body)
        except httpx2.TransportError as error:
            raise Refused(f"no hub answers at {self._http.base_url}: {error}") from error
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _refusal(answer)

    @contextmanager
    def stream(self, method: str, path: str, *, body: Any = None) -> Iterator[Iterator[bytes]]:
        """The answer in pieces as they come, however long that takes; Refused if it breaks off."""
        endless = httpx2.Timeout(30.0, read=None)
        try:
            with self._http.stream(method, path, json=body, timeout=endless) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _refusal(answer)
                yield answer.iter_bytes()
        except httpx2.TransportError as error:
            raise Refused(f"the answer of {self._http.base_url} broke off: {error}") from error


def _refusal(answer: httpx2.Response) -> Refused:
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        problem = Problem.model_validate(answer.json())
        where = f" (field {problem.field})" if problem.field else ""
        why = f"; hub explain {problem.decision_id}" if problem.decision_id else ""
        return Refused(
            f"{problem.status} {problem.code}: {problem.detail}{where}{why}",
            field=problem.field,
            retry_after_s=problem.retry_after_s,
            details=problem.details,
        )
    return Refused(f"the hub answered {answer.status_code}: {answer.text[:200]}")
