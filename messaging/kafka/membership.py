"""A dynamic group member that consumes nothing: it learns its partitions and can ask if that still holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from messaging.kafka.caller import Caller
from messaging.kafka.client import new_consumer
from messaging.kafka.hard_close import kill_consumer
from models.errors import BrokerUnavailable

_LOG: Final = logging.getLogger(__name__)
_HEALTH_S: Final = 1.0


class KafkaMembership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Owns the group's consumer. The callbacks only note and wake: heartbeats start after they have returned,
    so one that works would get its own member evicted. Nothing is given up on a revocation; safety is in the
    log.

    Between a revocation and the assignment after it nothing is confirmed. A broker answers a commit behind
    the pending join, as one of a generation that is over, and aiokafka then throws away the membership that
    it has just got: with every partition asking, a group that had lost its sessions never settled.
    """

    def __init__(self, caller: Caller, group: str, topic: str) -> None:
        self._caller = caller
        self._session_s = caller.config.session_timeout_ms / 1000
        self._group = group
        self._topic = topic
        self._assigned: frozenset[int] = frozenset()
        self._fresh = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._joined = False
        self._confirming: set[asyncio.Timeout] = set()
        self._left = False

    async def start(self) -> None:
        """Join; returns with the first assignment. Raises BrokerUnavailable and leaves nothing behind."""
        consumer = new_consumer(self._caller.config, self._caller.client_id, group=self._group)
        consumer.subscribe([self._topic], listener=self)
        self._consumer = consumer
        patience_s = self._session_s + self._caller.patience_s
        try:
            async with self._caller.asking(f"join group {self._group}", timeout_s=patience_s):
                await consumer.start()
        except BaseException:
            await self._drop()
            raise

    @property
    def assigned(self) -> frozenset[int]:
        """See `Membership.assigned`."""
        return self._assigned

    async def changed(self) -> frozenset[int]:
        """See `Membership.changed`. Waits out any trouble; a coordination that died is started again."""
        while not self._fresh.is_set():
            try:
                async with asyncio.timeout(_HEALTH_S):
                    await self._fresh.wait()
            except TimeoutError:
                await self._heal()
        self._fresh.clear()
        return self._assigned

    async def confirm(self, partition: int) -> bool:
        """See `Membership.confirm`: a commit is accepted of members of the current generation only."""
        if self._consumer is None or not self._joined:
            return False
        bound = asyncio.timeout(self._session_s)
        try:
            async with bound:
                self._confirming.add(bound)
                await self._consumer.commit({TopicPartition(self._topic, partition): 0})
        except (KafkaError, TimeoutError):
            return False
        finally:
            self._confirming.discard(bound)
        return True

    async def leave(self) -> None:
        """See `Membership.leave`."""
        self._left = True
        await self._drop()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Called by aiokafka inside the rebalance. Paused partitions are never fetched."""
        if self._consumer is not None:
            self._consumer.pause(*assigned)
        self._joined = True
        self._assigned = frozenset(place.partition for place in assigned)
        self._fresh.set()

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002 - all of them
        """Called by aiokafka when a rebalance begins, before it asks to join."""
        self._joined = False
        for bound in self._confirming:
            if not bound.expired():
                bound.reschedule(asyncio.get_running_loop().time())

    async def _heal(self) -> None:
        """Polling raises what killed the coordination; all partitions are paused, so it returns nothing."""
        try:
            if self._consumer is not None:
                await self._consumer.getmany(timeout_ms=0)
            elif not self._left:
                await self.start()
        except (KafkaError, BrokerUnavailable) as error:
            _LOG.warning("group %s: joining again after %r", self._group, error)
            await self._drop()

    async def _drop(self) -> None:
        consumer, self._consumer, self._joined = self._consumer, None, False
        if consumer is not None:
            await kill_consumer(consumer)
