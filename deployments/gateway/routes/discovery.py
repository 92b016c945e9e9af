"""Messaging discovery in the founding shape: the subjects, topics and groups of the hub. For operators."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Query

from deployments.front.permits import ReadsHub
from messaging.subjects import SUBJECTS, Subject
from messaging.topics import GROUPS, TOPICS, Group, Topic
from models.base import Frozen
from models.errors import BadValue

router = APIRouter(prefix="/api/config/messaging", tags=["discovery"])

Domain = Annotated[str | None, Query(description="Only what belongs to this domain, for example `user`")]
ALL: Final = "all"


class SubjectView(Frozen):
    """A NATS subject; `stream` keeps it, or nothing does."""

    subject: str
    stream: str | None
    purpose: str


class TopicView(Frozen):
    """A Kafka topic with its policy."""

    topic: str
    partitions: int
    key: str
    policy: dict[str, str]


class GroupView(Frozen):
    """A Kafka consumer group."""

    group: str
    topic: str
    purpose: str


class _Discovery(Frozen):
    status: str = "success"
    domain: str


class Subjects(_Discovery):
    """NATS subjects of a domain."""

    subjects: tuple[SubjectView, ...]


class Topics(_Discovery):
    """Kafka topics of a domain."""

    topics: tuple[TopicView, ...]


class ConsumerGroups(_Discovery):
    """Kafka consumer groups of a domain: that of the topic they share."""

    consumer_groups: tuple[GroupView, ...]


@router.get("/nats/subjects")
async def nats_subjects(_: ReadsHub, domain: Domain = None) -> Subjects:
    """The NATS contract."""
    found = _of_domain(((subject.domain, subject) for subject in SUBJECTS), domain)
    return Subjects(domain=domain or ALL, subjects=tuple(map(_subject_view, found)))


@router.get("/kafka/topics")
async def kafka_topics(_: ReadsHub, domain: Domain = None) -> Topics:
    """The Kafka contract."""
    found = _of_domain(((topic.domain, topic) for topic in TOPICS), domain)
    return Topics(domain=domain or ALL, topics=tuple(map(_topic_view, found)))


@router.get("/kafka/consumer-groups")
async def kafka_consumer_groups(_: ReadsHub, domain: Domain = None) -> ConsumerGroups:
    """Who shares which topic."""
    found = _of_domain(((group.topic.domain, group) for group in GROUPS), domain)
    return ConsumerGroups(domain=domain or ALL, consumer_groups=tuple(map(_group_view, found)))


T = TypeVar("T")


def _of_domain(items: Iterable[tuple[str, T]], domain: str | None) -> list[T]:
    listed = list(items)
    known = sorted({name for name, _ in listed})
    if domain is not None and domain not in known:
        raise BadValue(f"there is no such domain; known ones: {', '.join(known)}", field="domain")
    return [item for name, item in listed if domain in {None, name}]


def _subject_view(subject: Subject) -> SubjectView:
    return SubjectView(subject=subject.pattern, stream=subject.stream, purpose=subject.purpose)


def _topic_view(topic: Topic) -> TopicView:
    return TopicView(topic=topic.name, partitions=topic.partitions, key=topic.key, policy=dict(topic.policy))


def _group_view(group: Group) -> GroupView:
    return GroupView(group=group.name, topic=group.topic.name, purpose=group.purpose)
