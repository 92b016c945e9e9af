"""What Ray raises becomes one of the hub's own errors, on either transport."""

from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError

from deployments.router.transport import as_hub_error
from models.errors import (
    BadShape,
    HubError,
    InferenceFailed,
    ReplicaBusy,
    ReplicaLost,
    TicketRefused,
)


def wrapped(cause: Exception) -> Exception:
    """What the actor transport makes of an exception that a replica raised."""
    make: Any = RayTaskError
    error: Exception = make("infer", "traceback", cause).as_instanceof_cause()
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ActorDiedError(), ReplicaLost),
        (ActorUnavailableError("gone", None), ReplicaLost),
        (TaskCancelledError(), ReplicaLost),
        (BackPressureError(num_queued_requests=1, max_queued_requests=1), ReplicaBusy),
        (TicketRefused("full"), TicketRefused),
        (ValueError("odd"), InferenceFailed),
        (wrapped(ValueError("odd")), InferenceFailed),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_becomes(error: Exception, expected: type[HubError]) -> None:
    """Every error of a transport has one meaning."""
    assert type(as_hub_error(error)) is expected


@pytest.mark.parametrize("carry", [wrapped, lambda cause: cause], ids=["actor", "grpc"])
def test_a_hub_error_arrives_as_it_was_raised(carry: object) -> None:
    """Code, field and details of an error survive the way, without Ray's stack trace in the text."""
    assert callable(carry)
    error = as_hub_error(carry(BadShape("window was short", field="window", details={"rows": 3})))

    assert (type(error), error.message, error.field, error.details) == (
        BadShape,
        "window was short",
        "window",
        {"rows": 3},
    )
