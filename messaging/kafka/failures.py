"""What aiokafka's exceptions mean in the hub's own terms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import errors

from messaging.denials import Denials
from models.errors import (
    AccessDenied,
    AppendDenied,
    AppendNotSent,
    AppendRefused,
    AppendUnknown,
    BrokerUnavailable,
    MessagingError,
    TopicMismatch,
)

_REFUSALS = (
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
    errors.InvalidTopicError,
    errors.InvalidTimestampError,
    errors.UnsupportedForMessageFormatError,
    errors.PolicyViolationError,
)
"""A broker answers these before it writes anything."""

_DENIALS = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
)
"""The principal is known and may not do that."""

_STRANGERS = (errors.AuthenticationFailedError, errors.UnsupportedSaslMechanismError)


def append_error(error: BaseException, place: str, denials: Denials) -> AppendRefused | AppendUnknown:
    """The outcome of an append that came back with an error."""
    if isinstance(error, _DENIALS):
        return AppendDenied(denials.note(f"append to {place}"))
    if isinstance(error, _REFUSALS):
        return AppendRefused(f"the broker refused the append to {place}: {error}")
    return AppendUnknown(f"the append to {place} has no known outcome: {error!r}; read the log to find out")


def not_sent(error: BaseException, place: str, denials: Denials) -> AppendRefused:
    """The outcome of an append that failed before anything left this process."""
    if isinstance(error, _DENIALS):
        return AppendDenied(denials.note(f"append to {place}"))
    return AppendNotSent(f"append to {place} was not sent, no broker took it: {error!r}")


def request_error(error: BaseException, what: str, denials: Denials) -> MessagingError:
    """The error of a failed question to the broker."""
    if isinstance(error, errors.UnknownTopicOrPartitionError):
        return TopicMismatch(f"{what}: the topic or partition is missing; run `hub topics create`")
    if isinstance(error, _DENIALS):
        return AccessDenied(denials.note(what))
    if isinstance(error, _STRANGERS):
        return BrokerUnavailable(f"{what}: the broker knows no such principal ({error!r}); check credentials")
    return BrokerUnavailable(f"{what}: the broker did not answer as expected ({error!r})")


@asynccontextmanager
async def translated(what: str, *, timeout_s: float, denials: Denials) -> AsyncIterator[None]:
    """Bound the block and raise its Kafka errors as the hub's own."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise BrokerUnavailable(f"{what}: no answer from the broker within {timeout_s} s") from error
    except (errors.KafkaError, errors.IllegalOperation, errors.ConsumerStoppedError, OSError) as error:
        raise request_error(error, what, denials) from error
