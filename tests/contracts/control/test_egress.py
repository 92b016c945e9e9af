"""Scorecard S13: nothing that a tenant says makes the hub call anywhere.

The hub fetches two kinds of things, both from where the operator said: key sets of issuers, and artefacts.
What tenants bring is stored or refused, never called.
"""

from __future__ import annotations

import ast
import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import jwt
import pytest

from deployments.front.keys import PublishedKeys
from models.errors import ConfigError, Unauthenticated
from tests.support.control import ControlHub, new_tenant
from tests.support.eventually import eventually
from tests.unit.gateway.doubles import SECRET, SECRET_ENV, make_hub
from tests.unit.gateway.requests import request_of

ROOT: Final = Path(__file__).parents[3]
CALLS_OUT: Final = {"httpx2", "aiohttp", "requests", "urllib3", "smtplib", "ftplib"}
MAY_CALL: Final = {"deployments/front/keys.py": "key sets of issuers that the operator named"}
NAMED: Final = "https://rebind.example.com:{port}/hook"
"""Looks like an address that a tenant may keep: nobody asks what it stands for before somebody delivers."""
ADDRESSES: Final = (
    "https://127.0.0.1:{port}/",
    "https://[::1]:{port}/",
    "https://[::ffff:127.0.0.1]:{port}/",
    "https://2130706433:{port}/",
    "https://0x7f000001:{port}/",
    "https://127.1:{port}/",
    "https://localhost:{port}/",
    "https://localhost.:{port}/",
    "https://169.254.169.254/latest/meta-data",
    "https://[fd00:ec2::254]:{port}/",
    "https://anyone@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_SET",
    "redis://127.0.0.1:{port}/0",
    "//127.0.0.1:{port}/",
)


class Honeypots:
    """Listen on both loopbacks, and keep count of who comes and of which names were looked up."""

    def __init__(self) -> None:
        self.port = 0
        self.visits = 0
        self.lookups: list[str] = []

    async def taken(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()


@asynccontextmanager
async def _listening() -> AsyncIterator[Honeypots]:
    pots = Honeypots()
    first = await asyncio.start_server(pots.taken, "127.0.0.1", 0)
    pots.port = first.sockets[0].getsockname()[1]
    second = await asyncio.start_server(pots.taken, "::1", pots.port)
    async with first, second:
        yield pots


@pytest.fixture
async def pots(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Honeypots]:
    """Honeypots, beside a name service that tells on who asks."""
    async with _listening() as found:
        real = socket.getaddrinfo

        def told(host: Any, *rest: Any, **more: Any) -> Any:
            found.lookups.append(host.decode() if isinstance(host, bytes) else str(host))
            return real(host, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", told)
        yield found


async def test_the_honeypots_notice_a_visit(pots: Honeypots) -> None:
    """Otherwise the silence below would prove nothing."""
    for host in ("localhost", "127.0.0.1", "::1"):
        _, writer = await asyncio.open_connection(host, pots.port)
        writer.close()
    await eventually(lambda: pots.visits == 3)

    assert pots.lookups == ["localhost"]


@pytest.mark.parametrize("setting", ["webhooks.url", "branding.logo_url"])
async def test_an_address_in_the_config_is_refused_and_never_called(
    control: ControlHub, pots: Honeypots, setting: str
) -> None:
    """In every spelling, in the same words whether somebody listens there or not."""
    await control.client.post("/tenants", json=new_tenant(), headers=control.auth())
    owner = control.auth("ann", tenant="acme", roles=("tenant:owner",))
    for address in ADDRESSES:
        answers = [
            await control.client.patch(
                "/tenants/acme/config", json={"config": {setting: address.format(port=port)}}, headers=owner
            )
            for port in (pots.port, _closed_port())
        ]
        assert [answer.status_code for answer in answers] == [422, 422], address
        said = [answer.json()["detail"].replace(str(pots.port), "") for answer in answers]
        assert len({_without_digits(one) for one in said}) == 1
    await _quiet()

    assert (pots.visits, _foreign(pots)) == (0, [])


async def test_a_name_is_kept_and_not_even_looked_up(control: ControlHub, pots: Honeypots) -> None:
    """What it stands for is another thing tomorrow; there is nobody who delivers to it yet."""
    await control.client.post("/tenants", json=new_tenant(), headers=control.auth())
    owner = control.auth("ann", tenant="acme", roles=("tenant:owner",))
    url = NAMED.format(port=pots.port)
    answer = await control.client.patch(
        "/tenants/acme/config", json={"config": {"webhooks.url": url}}, headers=owner
    )
    await _quiet()

    assert answer.status_code == 200
    assert (pots.visits, _foreign(pots)) == (0, [])


async def test_no_other_word_of_a_tenant_is_called(control: ControlHub, pots: Honeypots) -> None:
    """Names, logins, invitations, comments, reasons, and a token that says where its keys are."""
    there = f"http://127.0.0.1:{pots.port}/jwks"
    body = new_tenant(name=there, owner={"login": "ann", "name": there, "password": "correct horse battery"})
    assert (await control.client.post("/tenants", json=body, headers=control.auth())).status_code == 201
    owner = control.auth("ann", tenant="acme", roles=("tenant:owner",))
    tried = [
        ("POST", "/tenants/acme/invitations", {"login": "bob", "name": there, "roles": ["tenant:trader"]}),
        ("POST", "/tenants/acme/keys", {"name": there, "scopes": ["infer"]}),
        ("PATCH", "/tenants/acme/config", {"config": {"branding.display_name": there}, "comment": there}),
        ("PATCH", "/tenants/acme", {"name": there}),
    ]
    for method, path, sent in tried:
        await control.client.request(method, path, json=sent, headers=owner)
    for header in ("jku", "x5u", "kid"):
        token = jwt.encode({"sub": "ann", "iss": there}, "s" * 64, "HS256", headers={header: there})
        answer = await control.client.get("/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    await _quiet()

    assert (pots.visits, _foreign(pots)) == (0, [])


async def test_no_model_and_no_event_is_called(pots: Honeypots, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registration that names addresses, and events that hold them."""
    monkeypatch.setenv(SECRET_ENV, SECRET)
    there = f"http://127.0.0.1:{pots.port}/model.onnx"
    hub = await make_hub(time.time_ns())
    model = request_of("POST", "/api/v1/models")
    for field in ("name", "source", "artefact_url", "url"):
        card = model["json"]["card"] | {field: there}
        await hub.client.request(
            **model | {"json": model["json"] | {"card": card}}, headers=hub.auth(roles=["admin"])
        )
    await hub.client.request(
        **model | {"json": model["json"] | {"artefact": there}}, headers=hub.auth(roles=["admin"])
    )
    settings = {"type": "settings_saved", "body": {"document": "ui", "values": {"callback": there}}}
    saved = await hub.client.post("/api/v1/events/settings", json=settings, headers=hub.auth())
    await _quiet()

    assert saved.status_code in {200, 201, 202}
    assert (pots.visits, _foreign(pots)) == (0, [])


async def test_a_key_set_elsewhere_is_not_followed(pots: Honeypots) -> None:
    """The operator's issuer sends the hub on to a private address: no keys. One look-up a fetch."""

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{pots.port}/\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        writer.close()

    server = await asyncio.start_server(elsewhere, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(Unauthenticated) as refused:
            await PublishedKeys(f"http://localhost:{port}/jwks").find("k1")
    await _quiet()

    assert pots.visits == 0
    assert str(pots.port) not in refused.value.message
    assert pots.lookups.count("localhost") == 1


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://issuer/", "http://issuer/", "http://10.0.0.1/"]
)
def test_an_issuer_speaks_https(url: str) -> None:
    """Its operator is told so at the start."""
    with pytest.raises(ConfigError, match="expected https"):
        PublishedKeys(url)


def test_nobody_else_in_the_hub_can_call_out() -> None:
    """By the imports of what runs in the cluster: a new caller has to be named here, and needs a guard."""
    packages = ("models", "routing", "signals", "inference", "messaging", "storage", "deployments")
    files = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in files if set(_imported(path)) & CALLS_OUT}

    assert found == set(MAY_CALL)


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
            yield node.module


async def _quiet() -> None:
    """Long enough for a call that somebody left behind as a task."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    if others:
        await asyncio.wait(others, timeout=0.2)


def _foreign(pots: Honeypots) -> list[str]:
    return [name for name in pots.lookups if "example.com" in name or "localhost" in name]


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def _without_digits(text: str) -> str:
    return "".join(letter for letter in text if not letter.isdigit())
