"""Servers and hub, up and down together: what `hub up` and `hub demo` share."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.front.tokens import TokenVerifier
from inference.signature import Signer
from messaging.connect import open_bus
from messaging.topics import check_topics, create_topics
from models.errors import TopicMismatch
from models.secret import SecretRef
from serve_app.hub import LocalHub
from serve_app.local_database import local_database
from serve_app.local_stack import Broker, LocalStack
from serve_app.local_tenants import make_local_tenant
from serve_app.runfile import RunningHub, forget, remember
from serve_app.settings import HubSettings, load_settings

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Launched:
    """A running hub with its settings; `stack` holds the bundled servers, if it runs on those."""

    settings: HubSettings
    hub: LocalHub
    stack: LocalStack | None


@contextmanager
def running_hub(
    settings: HubSettings, *, stack: LocalStack | None, dashboard: bool, progress: Progress
) -> Iterator[Launched]:
    """The hub on these settings, findable by the other commands until the block ends."""
    TokenVerifier(
        settings.tokens
    )  # a weak secret is refused here, not by replicas that start again and again
    hub = LocalHub(settings, dashboard=dashboard, progress=progress)
    try:
        hub.start()
        hub.wait_for_owners()
        if stack and settings.control:
            make_local_tenant(settings, hub.url)  # before others find the hub: they act for it
        remember(address_of(settings, hub, bundled=stack is not None))
        yield Launched(settings, hub, stack)
    finally:
        forget()
        hub.stop()


def local_settings(
    stack: LocalStack, broker: Broker, *, file: Path | None = None, **overrides: Any
) -> HubSettings:
    """Settings for the bundled servers, with a fresh signing secret and a free port unless one is given."""
    ends = stack.endpoints
    local: dict[str, Any] = {
        "profile": "local",
        "http": {"port": free_port()},
        "kafka": {"bootstrap": ends.kafka, **broker_traits(broker)},
        "nats": {"servers": [ends.nats]},
        "redis": {"url": ends.redis},
        "tokens": {"kind": "hs256", "secret": _new_secret(stack.run_dir, "token-secret")},
        "registration": _registration(stack.run_dir),
        **_tenancy(stack),
    }
    return load_settings(file, **{**local, **overrides})


def broker_traits(broker: Broker) -> dict[str, Any]:
    """What clients must know: Tansu has no idempotent producer and sleeps through long polls."""
    return {"idempotent": False, "fetch_max_wait_ms": 5} if broker == "tansu" else {"fetch_max_wait_ms": 50}


async def prepare_topics(settings: HubSettings, *, create: bool) -> list[str]:
    """Create what is missing if asked to, then hold the broker against the contract; returns notices.

    A notice is something the broker does not report; in the production profile that is a TopicMismatch.
    """
    bus = await open_bus(settings.kafka, client_id="hub-topics")
    try:
        if create:
            await create_topics(bus, settings.replication)
        notices = await check_topics(bus)
    finally:
        await bus.close()
    if notices and settings.profile == "production":
        raise TopicMismatch("in production the broker must report its topics: " + "; ".join(notices))
    return notices


def topics_ready(settings: HubSettings, *, create: bool) -> list[str]:
    """`prepare_topics` for callers without an event loop."""
    return asyncio.run(prepare_topics(settings, create=create))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _registration(directory: Path) -> dict[str, Any]:
    """Models at run time live as long as the bundled servers do, and are signed with a key of this run."""
    key = _new_secret(directory, "model-key")
    verify_key = Signer(SecretRef.model_validate(key).resolve()).verify_key
    return {"artefacts": str(directory / "artefacts"), "signing_key": key, "verify_key": verify_key}


def _tenancy(stack: LocalStack) -> dict[str, Any]:
    """Tenants and people, where the stack has the database for them; the first admin's password is random."""
    if stack.postgres is None:
        return {}
    control = {
        "sealing_key": _new_secret(stack.run_dir, "sealing-key"),
        "first_admin": {"login": "admin", "password": _new_secret(stack.run_dir, "admin-password")},
        "audit": {"key": _new_secret(stack.run_dir, "audit-key"), "vault": str(stack.run_dir / "audit")},
        "environment": "local",
    }
    database = local_database(stack.postgres, stack.run_dir)
    return {"postgres": database.model_dump(exclude_none=True), "control": control}


def _new_secret(directory: Path, name: str) -> dict[str, str | None]:
    """A fresh secret in a file for the user's eyes only, as settings name it."""
    path = directory / name
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
    return {"file": str(path), "env": None}


def address_of(settings: HubSettings, hub: LocalHub, *, bundled: bool) -> RunningHub:
    """Where the hub is, as other commands find it."""
    secret = getattr(settings.tokens, "secret", None)
    return RunningHub(
        url=hub.url,
        kafka=settings.kafka.bootstrap,
        nats=settings.nats.servers[0],
        redis=settings.redis.url,
        bundled=bundled,
        secret_file=secret.file if secret else None,
    )
