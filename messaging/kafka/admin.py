"""Topics through the admin client: what there is, the policy where the broker reports it, and new ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from messaging.kafka.caller import Caller
from messaging.kafka.client import new_admin
from messaging.kafka.failures import request_error
from messaging.ports import TopicState
from models.errors import TopicMismatch


async def topic_states(caller: Caller) -> dict[str, TopicState]:
    """Every topic that is not the broker's own."""
    async with _admin(caller, "list topics") as admin:
        topics = [topic for topic in await admin.describe_topics() if not topic["is_internal"]]
        names = [topic["topic"] for topic in topics]
        policies = await _policies(admin, names)
    return {
        topic["topic"]: TopicState(topic["topic"], len(topic["partitions"]), policies.get(topic["topic"]))
        for topic in topics
    }


async def create_topic(caller: Caller, topic: NewTopic) -> None:
    """Create a topic. Its partitions may be without a leader for a moment."""
    async with _admin(caller, f"create topic {topic.name}") as admin:
        response = await admin.create_topics([topic])
        for name, code, *text in response.topic_errors:
            _raise_refusal(caller, name, code, text)


def _raise_refusal(caller: Caller, name: str, code: int, text: Sequence[str]) -> None:
    error = for_code(code)
    if error is TopicAlreadyExistsError:
        raise TopicMismatch(f"topic {name} exists already; it was left as it is")
    if code:
        raise request_error(error(*text), f"create topic {name}", caller.denials)


async def _policies(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Configuration per topic; empty where the broker does not know the question."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        responses = await admin.describe_configs(resources)
    except KafkaError:
        return {}
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for response in responses
        for code, _text, _kind, name, entries in response.resources
        if not code and entries
    }


@asynccontextmanager
async def _admin(caller: Caller, what: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = new_admin(caller.config, caller.client_id)
    try:
        async with caller.asking(what):
            await admin.start()
            yield admin
    finally:
        await admin.close()
