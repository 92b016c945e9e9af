"""aiokafka clients made from a `KafkaConfig`; here secrets are resolved, as late as possible."""

from __future__ import annotations

import ssl
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from messaging.config import Compression, KafkaConfig
from messaging.sizes import MAX_BATCH_BYTES

_RETRY_BACKOFF_MS = 50
_JOIN_MARGIN_MS = 1_000


def new_producer(config: KafkaConfig, client_id: str) -> AIOKafkaProducer:
    """A producer, not started: batches leave at once and count when all in-sync replicas have them."""
    return AIOKafkaProducer(
        **connection_options(config, client_id),
        acks="all",
        enable_idempotence=config.idempotent,
        compression_type=None if config.compression is Compression.NONE else config.compression.value,
        linger_ms=0,
        max_batch_size=MAX_BATCH_BYTES,
    )


def new_consumer(config: KafkaConfig, client_id: str, *, group: str | None = None) -> AIOKafkaConsumer:
    """A consumer, not started, that commits nothing by itself.

    In a group it may stay without polling for ever, because such a one only ever learns its assignment; and
    an answer may take as long as a session, because joining waits for the last member.
    """
    answer_ms = config.session_timeout_ms + _JOIN_MARGIN_MS if group else config.answer_timeout_ms
    return AIOKafkaConsumer(
        **{
            **connection_options(config, client_id),
            "request_timeout_ms": min(answer_ms, config.request_timeout_ms),
        },
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=config.fetch_max_wait_ms,
        session_timeout_ms=config.session_timeout_ms,
        heartbeat_interval_ms=config.heartbeat_interval_ms,
        max_poll_interval_ms=2**31 - 1,
    )


def new_admin(config: KafkaConfig, client_id: str) -> AIOKafkaAdminClient:
    """An admin client, not started."""
    return AIOKafkaAdminClient(**connection_options(config, client_id))


def connection_options(config: KafkaConfig, client_id: str) -> dict[str, Any]:
    """What every client of aiokafka is told of the cluster, with the secrets in it."""
    return {
        "bootstrap_servers": config.bootstrap.split(","),
        "client_id": client_id,
        "request_timeout_ms": config.request_timeout_ms,
        "retry_backoff_ms": _RETRY_BACKOFF_MS,
        "security_protocol": config.security.value,
        "ssl_context": ssl.create_default_context(cafile=config.ca_file) if config.security.tls else None,
        **_credentials(config),
    }


def _credentials(config: KafkaConfig) -> dict[str, Any]:
    if config.password is None:
        return {}
    return {
        "sasl_mechanism": config.sasl_mechanism.value,
        "sasl_plain_username": config.username,
        "sasl_plain_password": config.password.resolve(),
    }
