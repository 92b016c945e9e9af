"""The AsyncAPI 3.0 document: servers, channels, messages, and who sends and receives what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final

from messaging.principals import PRINCIPALS, Access
from messaging.subjects import ALL_BARS, ALL_HEALTH, ALL_TICKS, SUBJECTS, Subject
from messaging.topics import TOPICS, Topic
from serve_app.contracts.records import MESSAGES, RECORDS, Kind, kinds

REPLICAS: Final = 3
_SCHEMA_FORMAT: Final = "application/schema+json;version=draft-2020-12"
_KAFKA_BINDING: Final = "0.5.0"
_PARAMETERS: Final = {ALL_TICKS: ("symbol",), ALL_BARS: ("symbol", "bar_ms"), ALL_HEALTH: ("service",)}
"""What the wildcards of a subject stand for."""

Part = dict[str, Any]


def document() -> Part:
    """The whole of it, ready to be written as YAML."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Central Hub",
            "version": version("central-hub"),
            "description": "Each user's signals, and what they are made of. Readers ignore fields they do not"
            " know. Who may do what stands in the operations: one principal per service.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {**dict(map(_topic, TOPICS)), **dict(map(_subject, SUBJECTS))},
        "operations": {name: made for access in PRINCIPALS for name, made in _operations(access)},
        "components": {"messages": _messages(), "securitySchemes": _security()},
    }


def _servers() -> Part:
    return {
        "kafka": {
            "host": "kafka.example.internal:9093",
            "protocol": "kafka-secure",
            "description": "Partition of a user's records: murmur2 of the user id, sign bit dropped, modulo"
            " the number of partitions (librdkafka: partitioner=murmur2_random).",
            "security": [{"$ref": "#/components/securitySchemes/scram"}],
        },
        "nats": {
            "host": "nats.example.internal:4222",
            "protocol": "nats",
            "security": [{"$ref": "#/components/securitySchemes/password"}],
        },
    }


def _security() -> Part:
    return {"scram": {"type": "scramSha512"}, "password": {"type": "userPassword"}}


def _topic(topic: Topic) -> tuple[str, Part]:
    return topic.name, {
        "address": topic.name,
        "title": topic.name,
        "description": f"Keyed by {topic.key}.",
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {kind.name: _message_ref(kind) for kind in RECORDS.get(topic.name, ())},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "replicas": REPLICAS,
                "topicConfiguration": _configuration(topic.policy),
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }


def _configuration(policy: Mapping[str, str]) -> Part:
    """The settings that the binding knows; the others of the policy stay with `hub topics check`."""
    made: Part = {"cleanup.policy": policy["cleanup.policy"].split(",")}
    if "retention.ms" in policy:
        made["retention.ms"] = int(policy["retention.ms"])
    return made


def _subject(subject: Subject) -> tuple[str, Part]:
    names = _PARAMETERS.get(subject.pattern, ())
    kind = MESSAGES.get(subject.pattern)
    channel: Part = {
        "address": _named(subject.pattern, tuple(f"{{{name}}}" for name in names)),
        "title": subject.pattern,
        "description": _sentence(subject),
        "servers": [{"$ref": "#/servers/nats"}],
        "messages": {kind.name: _message_ref(kind)} if kind else {},
    }
    parameters = {name: {"description": "One token; `.` in a name becomes `_`."} for name in names}
    return _channel_of(subject.pattern), {**channel, "parameters": parameters} if names else channel


def _sentence(subject: Subject) -> str:
    kept = f"kept by the JetStream stream {subject.stream}" if subject.stream else "kept nowhere"
    return f"{subject.purpose[0].upper()}{subject.purpose[1:]}; {kept}."


def _named(pattern: str, names: tuple[str, ...]) -> str:
    for name in names:
        pattern = pattern.replace("*", name, 1)
    return pattern


def _channel_of(place: str) -> str:
    """The channel of a topic or a subject."""
    return _named(place, _PARAMETERS.get(place, ()))


def _messages() -> Part:
    return {name: _message(kind) for name, kind in kinds().items()}


def _message(kind: Kind) -> Part:
    ended = " A record without a value takes it back." if kind.tombstone else ""
    made: Part = {"name": kind.name, "summary": f"{kind.summary}.{ended}", "payload": _payload(kind)}
    if kind.key:
        key = {"type": "string", "description": kind.key}
        made["bindings"] = {"kafka": {"key": key, "bindingVersion": _KAFKA_BINDING}}
    return made


def _payload(kind: Kind) -> Part:
    if kind.type is None:
        return {"description": "The bytes as they were."}
    return {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": f"./schemas/{kind.name}.json"}}


def _message_ref(kind: Kind) -> Part:
    return {"$ref": f"#/components/messages/{kind.name}"}


def _operations(access: Access) -> Iterator[tuple[str, Part]]:
    market = access.market
    sent = [*(topic.name for topic in access.owns), *(market.publishes if market else ())]
    received = [*(topic.name for topic in access.reads), *(market.hears if market else ())]
    for action, channels in (("send", sent), ("receive", received)):
        for channel in channels:
            yield f"{access.principal}.{action}.{_channel_of(channel)}", _operation(access, action, channel)


def _operation(access: Access, action: str, channel: str) -> Part:
    made: Part = {
        "action": action,
        "channel": {"$ref": f"#/channels/{_channel_of(channel)}"},
        "summary": f"{access.principal}: {access.purpose}",
    }
    if channel in RECORDS:
        made["bindings"] = {"kafka": _client(access, action, channel)}
    return made


def _client(access: Access, action: str, channel: str) -> Part:
    """Group and client id, as far as they are part of the contract."""
    made: Part = {}
    if access.group and action == "receive" and channel == _shared_by(access):
        kind = {"pattern": f"^{re.escape(access.group)}"} if access.any_group else {"const": access.group}
        made["groupId"] = {"type": "string", **kind}
    return {**made, "bindingVersion": _KAFKA_BINDING}


def _shared_by(access: Access) -> str:
    """The topic whose partitions the group's members share: the first that is owned, else the first read."""
    return (access.owns if access.owns and not access.any_group else access.reads)[0].name
