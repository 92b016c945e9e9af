"""The desk where halts are set and lifted: told over NATS at once, and true when `hub.control` has them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from messaging.ports import Broadcast, EventBus, Producer, Record
from messaging.subjects import HALT_SUBJECT
from messaging.topics import CONTROL
from models.access import Permission
from models.errors import AppendRefused, AppendUnknown, MessagingError
from models.halt import Halt, HaltScope, halt_key
from models.principal import Principal
from signals.halts import Halts

_LOG: Final = logging.getLogger("ray.serve")
_APPEND_S: Final = 2.0
_TELL_S: Final = 0.5
_TRIES: Final = 5


class HaltDesk:
    """Writes halts, and reads their log on from where it was each time it is asked."""

    def __init__(self, bus: EventBus, broadcast: Broadcast) -> None:
        self._bus = bus
        self._broadcast = broadcast
        self._halts = Halts()
        self._position = 0
        self._reading = asyncio.Lock()
        self._producer: Producer | None = None
        self._writing = asyncio.Lock()

    async def put(self, halt: Halt) -> None:
        """Halt: returns when it is in the log. A MessagingError says that it may not be; it was told all the
        same, and holds for half a minute wherever it was heard.
        """
        _LOG.warning("halt of %s %s by %s: %s", halt.scope, halt.id, halt.by, halt.reason)
        value = _value(halt)
        await asyncio.gather(self._tell(value), self._write(Record(halt.key(), value)))

    async def tell(self, halt: Halt) -> None:
        """Say over NATS alone that something is halted, where the log cannot be read or written: it holds for
        half a minute wherever it was heard.
        """
        await self._tell(_value(halt))

    async def lift(self, halt: Halt, *, by: str) -> None:
        """Resume: returns when the log has it."""
        _LOG.warning("%s %s is resumed by %s", halt.scope, halt.id, by)
        await self._write(Record(halt_key(halt.scope, halt.id), None))

    async def in_force(self) -> Sequence[Halt]:
        """All halts, as of now; a MessagingError if their log cannot be read."""
        async with self._reading:
            first, end = await self._bus.bounds(CONTROL.name, 0)
            start = max(first, self._position)
            if start < end:
                async for records in self._bus.read(CONTROL.name, 0, start, end):
                    for record in records:
                        self._halts.apply(record.key, record.value)
            self._position = max(start, end)
        return self._halts.in_force

    async def find(self, scope: HaltScope, halted: str) -> Halt | None:
        """The halt of exactly this scope and id, if it is in force."""
        return next((one for one in await self.in_force() if (one.scope, one.id) == (scope, halted)), None)

    @property
    def known(self) -> Sequence[Halt]:
        """The halts in force when they were read last."""
        return self._halts.in_force

    def concerning(self, caller: Principal) -> tuple[Halt, ...]:
        """What is known of those that the caller may see: who works halts all, others those that stop their
        signals. They learn why, not by whom.
        """
        known = self.known
        if caller.may(Permission.HALTS_WRITE):
            return tuple(known)
        return tuple(_public(halt, caller) for halt in known if _concerns(halt, caller))

    async def close(self) -> None:
        """Give the producer back."""
        if self._producer:
            await self._producer.close()

    async def _tell(self, value: bytes) -> None:
        try:
            async with asyncio.timeout(_TELL_S):
                await self._broadcast.tell(HALT_SUBJECT, value)
        except (MessagingError, TimeoutError) as error:
            _LOG.warning("a halt was not told over NATS, the log has it: %r", error)

    async def _write(self, record: Record) -> int:
        """Append, and again after a doubtful outcome: the record says the same however often it is there."""
        async with self._writing:
            for _ in range(_TRIES - 1):
                with contextlib.suppress(AppendRefused, AppendUnknown):
                    return await self._append(record)
            return await self._append(record)

    async def _append(self, record: Record) -> int:
        producer = await self._open()
        try:
            return await producer.append(CONTROL.name, 0, [record], timeout_s=_APPEND_S)
        except (AppendRefused, AppendUnknown):
            await producer.rebuild()
            raise

    async def _open(self) -> Producer:
        if self._producer is None:
            self._producer = await self._bus.producer("gateway-halts")
        return self._producer


def _value(halt: Halt) -> bytes:
    return halt.model_dump_json(by_alias=True).encode()


def _concerns(halt: Halt, caller: Principal) -> bool:
    named = {HaltScope.USER: caller.user_id, HaltScope.TENANT: caller.tenant_id}
    return halt.id == named.get(halt.scope, halt.id)


def _public(halt: Halt, caller: Principal) -> Halt:
    return halt if halt.by == caller.user_id else halt.model_copy(update={"by": "an operator"})
