"""Who may do what: the rules that the table of principals keeps, and what the brokers are told of it."""

from __future__ import annotations

import pytest

from messaging.kafka.acls import acl_commands, all_rules, rules_of, scram_commands
from messaging.nats.permissions import accounts, permissions_of
from messaging.principals import AUDITOR, COLLECTOR, OPERATOR, PRINCIPALS, READER, ROOMS, Access
from messaging.subjects import HALT_SUBJECT
from messaging.topics import CONTROL, GROUPS, SIGNAL_STATE, SIGNALS, SIGNALS_DLQ, TOPICS, Topic


def _owners(topic: Topic) -> set[str]:
    return {access.principal for access in PRINCIPALS if topic in access.owns}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_topic_has_an_owner(topic: Topic) -> None:
    """A topic that nobody may write is of no use: name its owner in `messaging/principals.py`."""
    assert _owners(topic), f"no principal owns {topic.name}: add it to one in messaging/principals.py"


@pytest.mark.parametrize("topic", [SIGNALS, SIGNAL_STATE], ids=lambda topic: topic.name)
def test_only_the_fanout_writes_signals(topic: Topic) -> None:
    """A claim, a signal and a checkpoint are worth what their writer is."""
    assert _owners(topic) == {"hub-fanout"}


def test_only_gateway_control_plane_and_operator_halt() -> None:
    """In the log and ahead of it."""
    told = {access.principal for access in PRINCIPALS if _publishes(access, HALT_SUBJECT)}
    assert _owners(CONTROL) == told == {"hub-gateway", "hub-control-plane", "hub-operator"}


def _publishes(access: Access, subject: str) -> bool:
    permissions = permissions_of(access)
    return permissions is not None and subject in permissions.publish


def test_groups_belong_to_their_rooms() -> None:
    """Each of the hub's has one principal; those of readers begin as no group of the hub does."""
    by_group = {access.group: access.principal for access in PRINCIPALS if access.group}
    assert {group.name for group in GROUPS} == set(by_group) - {READER.group}
    assert not any(group.name.startswith(READER.group or "") for group in GROUPS)


def test_outsiders_write_nothing_that_others_act_on() -> None:
    """Readers own their dead letters; a collector has no business with Kafka and reads nothing of NATS."""
    assert (READER.owns, AUDITOR.owns, rules_of(COLLECTOR)) == ((SIGNALS_DLQ,), (), ())
    permissions = permissions_of(COLLECTOR)
    assert permissions is not None
    assert not any(subject.startswith("$JS") for subject in permissions.publish)


def test_principals_have_names_of_their_own() -> None:
    """Else one would have the rights of two."""
    assert len({access.principal for access in PRINCIPALS}) == len(PRINCIPALS)


def test_every_rule_is_in_a_command() -> None:
    """What is alike shares one; a prefix is said to be one."""
    commands = list(acl_commands(all_rules()))
    for rule in all_rules():
        (command,) = [c for c in commands if f"User:{rule.principal} " in c and f" {rule.name} " in f"{c} "]
        assert f"--{rule.kind.lower()} {rule.name}" in command
        assert ("--resource-pattern-type prefixed" in command) is rule.prefixed
    assert any("--operation DescribeConfigs" in command for command in commands)


def test_no_password_is_printed() -> None:
    """Only the variables that hold them, one for each principal and broker."""
    scram = list(scram_commands())
    assert len(scram) == sum(bool(rules_of(access)) for access in PRINCIPALS)
    assert all("password=$HUB_" in command for command in scram)
    assert accounts().count("password: $HUB_") == sum(bool(access.market) for access in PRINCIPALS)


def test_nothing_allowed_is_nothing_and_not_everything() -> None:
    """To nats-server an empty list of allowed subjects is no restriction."""
    (line,) = [line for line in accounts().splitlines() if '"hub-fanout"' in line]
    assert 'publish: {deny: [">"]}' in line
    assert "allow: []" not in accounts()


def test_the_operator_makes_topics_and_no_signals() -> None:
    """It sees all of them and writes the log of halts."""
    assert OPERATOR.administers
    assert not any(access.administers for access in ROOMS.values())
    assert OPERATOR.owns == (CONTROL,)
