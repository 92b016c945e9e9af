"""Scorecard S1 on the control plane: no header and no parameter changes who a caller is or what it gets."""

from __future__ import annotations

from typing import Any

from deployments.control.app import ALWAYS_OPEN, create_app
from tests.support.control import ControlHub
from tests.support.logins import bearer, logged_in, provision
from tests.unit.gateway.test_security_identity import HOSTILE_HEADERS, HOSTILE_QUERIES

_OPEN = ALWAYS_OPEN | {"/docs", "/openapi.json"}
_NO_TOKEN: list[list[tuple[str, str]]] = [
    [],
    [("Authorization", "Basic YW5uOng=")],
    [("Proxy-Authorization", "Bearer x")],
    [("Cookie", "access_token=x")],
]


def operations(control: ControlHub) -> list[tuple[str, str]]:
    """Every method and path of the application itself, with made-up ids in the caller's own tenant."""
    paths = create_app(control.services).openapi()["paths"]
    return [
        (method.upper(), _filled(path))
        for path, described in paths.items()
        if path not in _OPEN
        for method in described
    ]


async def test_no_claim_beside_the_token_changes_an_answer(control: ControlHub) -> None:
    """Every reading operation x every hostile header and parameter: byte for byte the plain answer."""
    await provision(control)
    await provision(control, "rival")
    mine = bearer(await logged_in(control))
    reading = [path for method, path in operations(control) if method == "GET" and "audit" not in path]

    assert len(reading) > 8
    for path in reading:
        plain = await _seen(control, path, mine)
        for name, headers in HOSTILE_HEADERS.items():
            assert await _seen(control, path, [*mine.items(), *headers]) == plain, (path, name)
        for name, query in HOSTILE_QUERIES.items():
            if "user_id" not in query or not path.endswith("/sessions"):
                assert await _seen(control, path, mine, query) == plain, (path, name)


async def test_nothing_but_a_token_opens_an_operation(control: ControlHub) -> None:
    """Every operation without one, whatever other headers say: 401, the same bytes."""
    await provision(control)
    hostile = [*_NO_TOKEN, *HOSTILE_HEADERS.values()]
    answers = [
        await control.client.request(method, path, headers=headers)
        for method, path in operations(control)
        for headers in hostile
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1


async def test_a_foreign_tenant_is_like_one_that_is_not_there(control: ControlHub) -> None:
    """Every reading operation of a tenant: the same 404 for another's as for nobody's."""
    await provision(control)
    await provision(control, "rival")
    mine = bearer(await logged_in(control))
    reading = [path for method, path in operations(control) if method == "GET" and "/acme" in path]

    assert len(reading) > 5
    for path in reading:
        foreign = await _seen(control, path.replace("/acme", "/rival"), mine)
        absent = await _seen(control, path.replace("/acme", "/nobody"), mine)
        assert foreign == absent, path
        assert foreign[0] == 404, path


async def _seen(control: ControlHub, path: str, headers: Any, query: Any = None) -> tuple[int, bytes]:
    answer = await control.client.get(path, headers=headers, params=query)
    return answer.status_code, answer.content


def _filled(path: str) -> str:
    """The path with the caller's tenant, and a made-up id for everything else."""
    parts = [
        "acme" if part == "{tenant_id}" else "x1" if part.startswith("{") else part
        for part in path.split("/")
    ]
    return "/".join(parts)
