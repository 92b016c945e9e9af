"""Whether a release can be rolled out beside the last one: what of a schema changed that must not.

Old readers read what new writers write, and new readers read what lies in the log. So nothing may go, nothing
may become required, and no field may take other values than before; a field with a default may come.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from serve_app.contracts.schemas import Schema

_WORDS: Final = {"$schema", "$id", "$defs", "title", "description", "default", "examples"}
_WALKED: Final = {"properties", "required", "items", "prefixItems", "additionalProperties", "anyOf", "oneOf"}


def breaks(old: Schema, new: Schema) -> list[str]:
    """What changed, each with the name of its field; empty if nothing that matters."""
    return list(_breaks(old, new, "value", (old, new)))


def _breaks(old: Any, new: Any, field: str, roots: tuple[Schema, Schema]) -> Iterator[str]:
    old, new = _resolved(old, roots[0]), _resolved(new, roots[1])
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if old != new:
            yield f"{field}: was {old!r}, is {new!r}"
        return
    yield from _fields(old, new, field, roots)
    for word in sorted((old.keys() | new.keys()) - _WORDS - _WALKED):
        if old.get(word) != new.get(word):
            yield f"{field}: {word} was {old.get(word)!r}, is {new.get(word)!r}"
    for word in ("items", "additionalProperties"):
        if word in old or word in new:
            yield from _breaks(old.get(word), new.get(word), f"{field}[]", roots)
    for word in ("anyOf", "oneOf", "prefixItems"):
        yield from _alternatives(old.get(word, []), new.get(word, []), field, roots)


def _fields(old: Schema, new: Schema, field: str, roots: tuple[Schema, Schema]) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    required = (set(old.get("required", ())), set(new.get("required", ())))
    for name in before:
        if name not in after:
            yield f"{field}.{name}: was removed or renamed"
            continue
        if name in required[1] - required[0]:
            yield f"{field}.{name}: is required from now on; the log holds records without it"
        if name in required[0] - required[1]:
            yield f"{field}.{name}: is required no longer; readers of the last release need it"
        yield from _breaks(before[name], after[name], f"{field}.{name}", roots)
    for name in after.keys() - before.keys():
        if name in required[1]:
            yield f"{field}.{name}: is new and required; the log holds records without it"


def _alternatives(old: list[Any], new: list[Any], field: str, roots: tuple[Schema, Schema]) -> Iterator[str]:
    if len(old) != len(new):
        yield f"{field}: had {len(old)} alternatives, has {len(new)}"
        return
    for before, after in zip(old, new, strict=True):
        yield from _breaks(before, after, field, roots)


def _resolved(part: Any, root: Schema) -> Any:
    if isinstance(part, dict) and "$ref" in part:
        return root["$defs"][part["$ref"].rpartition("/")[2]]
    return part
