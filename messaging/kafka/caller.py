"""Who asks a Kafka cluster, and how what it is answered becomes the hub's own errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from messaging.config import KafkaConfig
from messaging.denials import Denials
from messaging.kafka.client import new_admin
from messaging.kafka.failures import translated
from models.errors import AccessDenied, BrokerUnavailable

_WHY_S: Final = 3.0
"""How much longer a question without an answer may take for it to be known why there was none."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The way to the cluster, the name its connections go by, and where what it denies is counted."""

    config: KafkaConfig
    client_id: str
    denials: Denials

    @property
    def patience_s(self) -> float:
        """How long one question may take."""
        return self.config.request_timeout_ms / 1000

    @property
    def answer_s(self) -> float:
        """How long the leader of a partition may take to answer before it is taken for none."""
        return min(self.config.answer_timeout_ms / 1000, self.patience_s)

    def named(self, part: str) -> Caller:
        """The same, under a name of its own."""
        return replace(self, client_id=f"{self.client_id}-{part}")

    def unhurried(self, late_ms: int) -> Caller:
        """The same, who lets the broker hold an empty fetch for so long at least."""
        wait_ms = max(self.config.fetch_max_wait_ms, late_ms)
        return replace(self, config=self.config.model_copy(update={"fetch_max_wait_ms": wait_ms}))

    @asynccontextmanager
    async def asking(
        self, what: str, *, about: str | None = None, timeout_s: float | None = None
    ) -> AsyncIterator[None]:
        """Bounds the block, by default to `patience_s`, and raises its Kafka errors as the hub's own. Of a
        topic that may not even be seen aiokafka waits in vain for a leader: name it as `about`.
        """
        bound_s = self.patience_s if timeout_s is None else timeout_s
        try:
            async with translated(what, timeout_s=bound_s, denials=self.denials):
                yield
        except AccessDenied:
            raise
        except BrokerUnavailable as error:
            if about and await self._hidden(about):
                raise AccessDenied(self.denials.note(what)) from error
            raise

    async def _hidden(self, topic: str) -> bool:
        """Whether the cluster answers now, and says that the topic is not for this principal to see."""
        admin = new_admin(self.config, f"{self.client_id}-denied")
        try:
            async with translated("look for denials", timeout_s=_WHY_S, denials=self.denials):
                await admin.start()
                (described,) = await admin.describe_topics([topic])
        except (BrokerUnavailable, KafkaError, ValueError):
            return False
        finally:
            await admin.close()
        return bool(described["error_code"] == TopicAuthorizationFailedError.errno)
