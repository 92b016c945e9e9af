"""The shipped applications behind uvicorn, in a process of their own, for `tenant_config.py`.

`gateway N`: the data plane with so many tenants in its copy of `hub.tenants`, and an empty endpoint beside.
`control KAFKA POSTGRES`: the control plane on a real broker and a real database, with one tenant.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from random import Random
from typing import Any, Final

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Response

from benchmarks.child import commands, run, say
from benchmarks.tenant_config_records import tenants
from deployments.control.app import create_app
from deployments.control.assembly import Assembled, Wires, assemble
from deployments.control.config import ControlConfig
from deployments.front.limits import load_tiers
from deployments.front.permits import needs
from deployments.front.tokens import mint
from messaging.config import KafkaConfig, NatsConfig
from messaging.connect import open_bus
from messaging.memory import MemoryBroadcast, MemoryMarket, Process
from messaging.ports import EventBus
from messaging.topics import create_topics
from models.access import Permission
from models.garbage import spare_collections
from models.metrics import MemoryMeter
from models.principal import Principal, Tier
from models.secret import SecretRef
from serve_app.launch import free_port
from storage.memory import MemoryFastStore
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from storage.redis_store import RedisConfig
from tests.support.control import SEALING_ENV, SECRET_ENV, TIERS, TOKENS, new_tenant
from tests.unit.gateway import doubles

_NOWHERE: Final = "127.0.0.1:1"


async def main() -> None:
    """Serve until the parent closes the pipe; ready with address and token."""
    os.environ |= {name: Random(name).randbytes(32).hex() for name in (SECRET_ENV, SEALING_ENV)}
    os.environ[doubles.SECRET_ENV] = doubles.SECRET
    mode, *arguments = sys.argv[1:]
    if mode == "gateway":
        hub = await doubles.make_hub(time.time_ns(), tenants=tenants(int(arguments[0])).view)
        router = APIRouter(dependencies=[Depends(needs(Permission.CONFIG_READ))])
        router.add_api_route("/empty", _empty)
        hub.app.include_router(router)
        spare_collections()
        await _serve(hub.app, hub.token("u-1", "t1", roles=["operator"]))
        return
    kafka, postgres = arguments
    bus = await open_bus(KafkaConfig(bootstrap=kafka), client_id="control")
    assembled = await _control(bus, PostgresConfig.model_validate_json(postgres))
    tasks = [asyncio.create_task(one.run()) for one in (assembled.announcer, assembled.tail)]
    await assembled.founding.run()
    await _serve(create_app(assembled.services), _token(), tenant=new_tenant())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await assembled.announcer.close()
    await bus.close()


async def _empty() -> Response:
    return Response(b"{}", media_type="application/json")


async def _serve(app: FastAPI, token: str, **ready: Any) -> None:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    say({"port": port, "token": token, **ready})
    async for _ in commands():
        say({})
    server.should_exit = True
    await serving


async def _control(bus: EventBus, postgres: PostgresConfig) -> Assembled:
    rng = Random(1)
    await create_topics(bus, 1)
    config = ControlConfig(
        postgres=postgres,
        kafka=KafkaConfig(bootstrap=_NOWHERE),
        nats=NatsConfig(servers=(f"nats://{_NOWHERE}",)),
        redis=RedisConfig(url=f"redis://{_NOWHERE}/0"),
        tokens=TOKENS,
        tiers=load_tiers(TIERS),
        sealing_key=SecretRef(env=SEALING_ENV),
    )
    wires = Wires(
        database=Database(postgres),
        bus=bus,
        broadcast=MemoryBroadcast(MemoryMarket(rng), Process("control")),
        store=MemoryFastStore(time.time_ns),
        meter=MemoryMeter(),
        clock=time.time_ns,
        monotonic=time.monotonic,
        rng=rng,
    )
    return assemble(config, wires)


def _token() -> str:
    root = Principal(
        user_id="root",
        tenant_id="platform",
        tier=Tier.PRO,
        roles=frozenset({"admin"}),
        entitled_until_ns=2_000_000_000 * 10**9,
    )
    return mint(root, TOKENS, now_s=int(time.time()), ttl_s=3600)


if __name__ == "__main__":
    run(main())
