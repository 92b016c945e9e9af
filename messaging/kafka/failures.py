"""What aiokafka's exceptions mean in the hub's own terms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import errors

from models.errors import AppendRefused, AppendUnknown, BrokerUnavailable, MessagingError, TopicMismatch

_REFUSALS = (
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
    errors.InvalidTopicError,
    errors.InvalidTimestampError,
    errors.UnsupportedForMessageFormatError,
    errors.PolicyViolationError,
    errors.TopicAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)
"""A broker answers these before it writes anything."""

_ACCESS = (
    errors.AuthenticationFailedError,
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.UnsupportedSaslMechanismError,
)


def append_error(error: BaseException, place: str) -> AppendRefused | AppendUnknown:
    """The outcome of an append that was sent and came back with an error."""
    if isinstance(error, _REFUSALS):
        return AppendRefused(f"the broker refused the append to {place}: {error}")
    return AppendUnknown(f"the append to {place} has no known outcome: {error!r}; read the log to find out")


def request_error(error: BaseException, what: str) -> MessagingError:
    """The error of a failed question to the broker."""
    if isinstance(error, errors.UnknownTopicOrPartitionError):
        return TopicMismatch(f"{what}: the topic or partition is missing; run `hub topics create`")
    if isinstance(error, _ACCESS):
        return BrokerUnavailable(f"{what}: the broker denied access ({error!r}); check credentials and ACLs")
    return BrokerUnavailable(f"{what}: the broker did not answer as expected ({error!r})")


@asynccontextmanager
async def translated(what: str, *, timeout_s: float) -> AsyncIterator[None]:
    """Bound the block and raise its Kafka errors as the hub's own."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise BrokerUnavailable(f"{what}: no answer from the broker within {timeout_s} s") from error
    except (errors.KafkaError, errors.IllegalOperation, errors.ConsumerStoppedError, OSError) as error:
        raise request_error(error, what) from error
