"""What Ray raises on either of Serve's transports, as the hub's own errors.

The actor transport wraps what a replica raised in a RayTaskError, gRPC hands it over as it is. A replica that
died in mid-call is an ActorDiedError on the one and an ActorUnavailableError on the other.
"""

from __future__ import annotations

from ray.exceptions import RayActorError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError

from models.errors import HubError, InferenceFailed, ReplicaBusy, ReplicaLost, TicketRefused


def as_hub_error(error: Exception) -> HubError:
    """The hub's word for what a call to a replica raised."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    match cause:
        case HubError():
            return cause
        case RayActorError():
            return ReplicaLost("the replica was lost while it held the call")
        case BackPressureError():
            return ReplicaBusy("the callers' queue to this pool is full")
        case DeploymentUnavailableError() | ReplicaUnavailableError():
            return TicketRefused("the pool is not available")
        case TaskCancelledError():
            return ReplicaLost("the call was cancelled while its replica stopped")
        case _:
            return InferenceFailed(f"the replica failed: {type(cause).__name__}: {cause}")
