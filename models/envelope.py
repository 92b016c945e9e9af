"""`MessageEnvelope`, the protobuf envelope of the founding documents, as an optional content type.

The founding text names six fields without spelling them out; they are chosen here as `message_type`,
`user_id`, `payload`, `timestamp_ns`, `service_source` and `correlation_id`. JSON stays the hub's own form:
protobuf wins size, not time.
"""

from __future__ import annotations

from typing import Final, Self

from google.protobuf.message import DecodeError

from models.base import Frozen
from models.errors import BadValue
from models.proto.message_envelope_pb2 import MessageEnvelope

CONTENT_TYPE: Final = "application/x-protobuf; messageType=hub.v1.MessageEnvelope"


class Envelope(Frozen):
    """Any payload and what a reader needs before it parses one; `message_type` names the payload's schema."""

    message_type: str
    user_id: str
    payload: bytes
    timestamp_ns: int
    service_source: str
    correlation_id: str

    def encode(self) -> bytes:
        """The protobuf message."""
        return MessageEnvelope(**dict(self)).SerializeToString(deterministic=True)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The envelope in `data`; unknown fields are ignored. BadValue if it is none or names no type."""
        try:
            message = MessageEnvelope.FromString(data)
        except DecodeError as error:
            raise BadValue("message was not a hub.v1.MessageEnvelope", field="message") from error
        if not message.message_type:
            raise BadValue("message_type was empty; it names the payload's schema", field="message_type")
        return cls(**{name: getattr(message, name) for name in cls.model_fields})
