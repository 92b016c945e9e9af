"""The control plane as tests call it: the shipped services, a real PostgreSQL, the memory bus, over ASGI."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from deployments.control.app import ROUTE, create_app
from deployments.control.assembly import Assembled, Wires, assemble
from deployments.control.config import AuditConfig, ControlConfig
from deployments.control.services import ControlServices
from deployments.front.limits import load_tiers
from deployments.front.tenant_config.templates import load_templates
from deployments.front.tokens import LocalTokens, mint
from messaging.config import KafkaConfig, NatsConfig
from messaging.memory import MemoryBroadcast, MemoryBus, MemoryLog, MemoryMarket, Process
from messaging.topics import create_topics
from models.metrics import MemoryMeter
from models.principal import Principal, Tier
from models.secret import SecretRef
from storage.memory import MemoryFastStore
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from storage.redis_store import RedisConfig
from tests.support.sockets import close_sockets

TEMPLATES = Path(__file__).parents[2] / "config" / "tenant_templates.yaml"
SECRET_ENV = "HUB_TEST_CONTROL_SECRET"
SEALING_ENV = "HUB_TEST_SEALING_KEY"
AUDIT_ENV = "HUB_TEST_AUDIT_KEY"
TOKENS = LocalTokens(secret=SecretRef(env=SECRET_ENV))
TIERS = """
tiers:
  free: {tenant: 100000/hour, user: 100000/minute, sockets: 5}
  pro: {tenant: 100000/hour, user: 100000/minute, sockets: 50}
  enterprise: {tenant: 100000/hour, user: 100000/minute, sockets: 500}
  service: {tenant: 1000000/hour, user: 1000000/minute, sockets: 500}
"""

OWNER = {"login": "ann", "name": "Ann", "password": "correct horse battery"}


def new_tenant(tenant_id: str = "acme", **more: Any) -> dict[str, Any]:
    """The body that makes a tenant whose owner has a password."""
    return {"tenant_id": tenant_id, "name": "Acme Ltd", "tier": "pro", "owner": OWNER, **more}


@dataclass
class ControlHub:
    """A control plane in this process. `client` calls it as `/tenants/...`; `log` is what it told others."""

    config: ControlConfig
    assembled: Assembled
    client: httpx2.AsyncClient
    log: MemoryLog
    bus: MemoryBus
    store: MemoryFastStore

    @property
    def services(self) -> ControlServices:
        return self.assembled.services

    def auth(
        self, user: str = "root", *, tenant: str = "platform", roles: tuple[str, ...] = ("admin",)
    ) -> dict[str, str]:
        """Headers of a caller, with a token that the local secret signed."""
        principal = Principal(
            user_id=user,
            tenant_id=tenant,
            tier=Tier.PRO,
            roles=frozenset(roles),
            entitled_until_ns=2_000_000_000 * 10**9,
        )
        return {"Authorization": f"Bearer {mint(principal, TOKENS, now_s=int(time.time()), ttl_s=600)}"}


@asynccontextmanager
async def control_hub(
    postgres: PostgresConfig, *, seed: int = 1, **changed: Any
) -> AsyncIterator[ControlHub]:
    """The control plane on this database, its tasks running, for as long as the block lasts; `changed` of its
    config.
    """
    rng = random.Random(seed)
    os.environ.setdefault(SECRET_ENV, random.Random(11).randbytes(32).hex())
    os.environ.setdefault(AUDIT_ENV, random.Random(13).randbytes(32).hex())
    os.environ.setdefault(SEALING_ENV, random.Random(12).randbytes(32).hex())
    log, store = MemoryLog(rng, clock=time.time_ns), MemoryFastStore(time.time_ns)
    bus, database = MemoryBus(log, "control"), Database(postgres)
    await create_topics(bus, 1)
    config = ControlConfig(
        postgres=postgres,
        kafka=KafkaConfig(bootstrap="127.0.0.1:1"),
        nats=NatsConfig(servers=("nats://127.0.0.1:1",)),
        redis=RedisConfig(url="redis://127.0.0.1:1/0"),
        tokens=TOKENS,
        tiers=load_tiers(TIERS),
        sealing_key=SecretRef(env=SEALING_ENV),
        audit=AuditConfig(key=SecretRef(env=AUDIT_ENV), heads_every_s=3600.0),
        templates=load_templates(TEMPLATES.read_text()),
        environment="test",
        public_docs=True,
    ).model_copy(update=changed)
    wires = Wires(
        database=database,
        bus=bus,
        broadcast=MemoryBroadcast(MemoryMarket(rng), Process("control")),
        store=store,
        meter=MemoryMeter(),
        clock=time.time_ns,
        monotonic=time.monotonic,
        rng=rng,
    )
    assembled = assemble(config, wires)
    tasks = [
        asyncio.create_task(assembled.announcer.run()),
        asyncio.create_task(assembled.tail.run()),
        *(asyncio.create_task(one.run()) for one in assembled.beside),
    ]
    await assembled.tail.complete.wait()
    transport = httpx2.ASGITransport(app=create_app(assembled.services), root_path=ROUTE)
    try:
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://hub{ROUTE}") as client:
            yield ControlHub(config, assembled, client, log, bus, store)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await assembled.services.resources.close()
        await assembled.announcer.close()
        for one in assembled.beside:
            await one.close()
        await database.close()
        close_sockets()
