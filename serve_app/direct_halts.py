"""Halting without a gateway: straight into `hub.control`, with the operator's own access to Kafka."""

from __future__ import annotations

import asyncio
import getpass
import time

from messaging.connect import open_bus
from messaging.ports import Record
from messaging.topics import CONTROL, check_topics
from models.halt import Halt, HaltScope, halt_key
from serve_app.broker_here import broker_here

_APPEND_S = 10.0


def write_halt(scope: HaltScope, halted: str, *, reason: str) -> None:
    """Halt; returns when Kafka has it. Ids are not checked: nobody is there who knows them."""
    halt = Halt(scope=scope, id=halted, reason=reason, by=f"cli:{getpass.getuser()}", at_ns=time.time_ns())
    asyncio.run(_append(Record(halt.key(), halt.model_dump_json(by_alias=True).encode())))


def write_resumption(scope: HaltScope, halted: str) -> None:
    """End a halt; returns when Kafka has it."""
    asyncio.run(_append(Record(halt_key(scope, halted), None)))


async def _append(record: Record) -> None:
    """BrokerUnavailable, AppendRefused or AppendUnknown say that it may not be in the log."""
    bus = await open_bus(broker_here(), client_id="hub-halt")
    try:
        await check_topics(bus, [CONTROL])
        producer = await bus.producer("halts")
        await producer.append(CONTROL.name, 0, [record], timeout_s=_APPEND_S)
    finally:
        await bus.close()
