"""What the principals may do as Kafka's access rules, and as the commands that put them in force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from messaging.principals import PRINCIPALS, Access

SCRAM_ITERATIONS: Final = 8192
_ADMIN: Final = '--bootstrap-server "$KAFKA" --command-config "$KAFKA_ADMIN"'


@dataclass(frozen=True, slots=True)
class Rule:
    """One resource and what a principal may do with it: names as `kafka-acls` and its API spell them.

    `prefixed`: the resource is every one whose name begins so.
    """

    principal: str
    kind: str
    name: str
    operations: tuple[str, ...]
    prefixed: bool = False


def rules_of(access: Access) -> tuple[Rule, ...]:
    """The rules of one principal. READ and WRITE include DESCRIBE; who may write may do so idempotently."""
    return tuple(_topics(access)) + tuple(_groups(access))


def all_rules() -> tuple[Rule, ...]:
    """The rules of every principal: whatever they do not name, Kafka's StandardAuthorizer denies."""
    return tuple(rule for access in PRINCIPALS for rule in rules_of(access))


def acl_commands(rules: Iterable[Rule]) -> Iterator[str]:
    """`kafka-acls` commands: one for what is alike."""
    for alike, some in groupby(rules, key=lambda rule: (rule.principal, rule.kind, rule.operations)):
        principal, kind, operations = alike
        several = tuple(some)
        words = [f"--operation {_spelt(operation)}" for operation in operations]
        words += [f"--{kind.lower()} {rule.name}" for rule in several]
        words += ["--resource-pattern-type prefixed"] if several[0].prefixed else []
        yield f"kafka-acls {_ADMIN} --add --allow-principal User:{principal} {' '.join(words)}"


def scram_commands() -> Iterator[str]:
    """`kafka-configs` commands that give each principal of Kafka the password of its variable."""
    for access in PRINCIPALS:
        if rules_of(access):
            scram = f"SCRAM-SHA-512=[iterations={SCRAM_ITERATIONS},password=${password_variable(access)}]"
            yield (
                f"kafka-configs {_ADMIN} --alter --entity-type users --entity-name {access.principal}"
                f' --add-config "{scram}"'
            )


def password_variable(access: Access) -> str:
    """The environment variable that the printed commands take a principal's password from."""
    return f"{access.principal.upper().replace('-', '_')}_KAFKA_PASSWORD"


def _topics(access: Access) -> Iterator[Rule]:
    named = dict.fromkeys(topic.name for topic in (*access.reads, *access.owns))
    reads, owns = {t.name for t in access.reads}, {t.name for t in access.owns}
    by_operations = [(_operations(name, reads, owns, makes=access.administers), name) for name in named]
    for operations, name in sorted(by_operations):
        yield Rule(access.principal, "TOPIC", name, operations)


def _operations(name: str, reads: set[str], owns: set[str], *, makes: bool) -> tuple[str, ...]:
    wanted = {"READ": name in reads, "WRITE": name in owns, "DESCRIBE_CONFIGS": True, "CREATE": makes}
    return tuple(operation for operation, given in wanted.items() if given)


def _groups(access: Access) -> Iterator[Rule]:
    if access.group:
        yield Rule(access.principal, "GROUP", access.group, ("READ",), prefixed=access.any_group)


def _spelt(operation: str) -> str:
    """As `kafka-acls` wants it: DescribeConfigs."""
    return operation.title().replace("_", "")
