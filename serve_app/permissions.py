"""What `hub topics acls` prints: the brokers' own rules for the principals of `messaging.principals`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from messaging.kafka import acls
from messaging.nats import permissions
from messaging.principals import PRINCIPALS, Access


def as_kafka_commands() -> str:
    """A shell script: passwords and rights, for a cluster whose authorizer denies what no rule allows."""
    lines = (
        "# KAFKA: host:port of the cluster. KAFKA_ADMIN: client properties of a super user.",
        "# Broker: authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer, and never",
        "# allow.everyone.if.no.acl.found=true.",
        *acls.scram_commands(),
        *acls.acl_commands(acls.all_rules()),
    )
    return "\n".join(lines)


def as_nats_accounts() -> str:
    """A file to include in the servers' configuration; the server reads the variables it starts with."""
    return (
        "# Include this in the configuration of every nats-server, beside\n"
        '#   jetstream { store_dir: "...", sync_interval: always }   and   tls { ... }\n'
        f"{permissions.accounts()}"
    )


def as_data() -> str:
    """Both as JSON, for tools of one's own."""
    return json.dumps([_principal(access) for access in PRINCIPALS], indent=2)


def _principal(access: Access) -> dict[str, Any]:
    allowed = permissions.permissions_of(access)
    return {
        "principal": access.principal,
        "purpose": access.purpose,
        "kafka": [asdict(rule) for rule in acls.rules_of(access)],
        "nats": asdict(allowed) if allowed else None,
    }
