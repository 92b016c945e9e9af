"""What a replica answers besides a forecast: a typed refusal that still carries its load.

A refusal is a value and not an exception on the wire: it brings the load report back, looks the same on both
of Serve's transports and leaves no stack trace in the replica's log.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import HubError
from models.forecast import InferReply, LoadReport


@dataclass(frozen=True, slots=True)
class Refusal:
    """The replica did not run the call, and why."""

    error: HubError
    load: LoadReport


Reply = InferReply | Refusal
