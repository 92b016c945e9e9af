"""One layer's document: from nested to dotted names and back, without its secrets, and beside another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from deployments.front.tenant_config.schema import SCHEMA, setting_of
from models.base import Frozen
from models.errors import BadValue

SECRET_SET: Final = {"secret": True, "set": True}
"""What stands for a secret wherever somebody reads a config, and in the log."""
SECRET_UNSET: Final = {"secret": True, "set": False}

_DEEPEST: Final = 4


class Difference(Frozen):
    """A setting in one version and in another; None where the version does not have it.

    Two different secrets look the same: that they are listed says that they differ.
    """

    name: str
    before: Any = None
    after: Any = None


def flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name. Names may come dotted, nested or mixed; BadValue for one that is no setting's,
    or comes twice.
    """
    found: dict[str, Any] = {}
    for name, value in _leaves(document, "", _DEEPEST):
        if setting_of(name).name in found:
            raise BadValue(f"{name} stands twice in the config; say it once", field=name)
        found[name] = value
    return found


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"risk.scale": 1}` as `{"risk": {"scale": 1}}`."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        section, leaf = _PLACES.get(name) or _place(name)
        tree.setdefault(section, {})[leaf] = value
    return tree


def public(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with a mark in place of every secret's reference. A setting that this release does not
    know is left out: it might be a secret.
    """
    return {
        name: SECRET_SET if SCHEMA[name].secret else value
        for name, value in document.items()
        if name in SCHEMA
    }


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    """What became of every setting that is not the same in both, by name. Takes documents as they are kept;
    gives away no secret.
    """
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    told_before, told_after = public(before), public(after)
    return tuple(
        Difference(name=name, before=told_before.get(name), after=told_after.get(name))
        for name in sorted(changed)
    )


def _place(name: str) -> tuple[str, str]:
    section, _, leaf = name.partition(".")
    return section, leaf


_PLACES: Final = {name: _place(name) for name in SCHEMA}


def _leaves(document: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for part, value in document.items():
        name = prefix + part
        if isinstance(value, dict) and name not in SCHEMA and value and depth:
            yield from _leaves(value, f"{name}.", depth - 1)
        else:
            yield name, value
