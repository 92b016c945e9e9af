"""A record as a later release might write it: with a field more in every object that has fields."""

from __future__ import annotations

from typing import Any, Final

import orjson

from serve_app.contracts.schemas import Schema, schemas
from tests.golden.logs import Golden

ADDED: Final = {"added_later": {"deep": [1]}}
_SCHEMAS: Final = schemas()


def grown(record: Golden) -> bytes | None:
    """Its new value; what has no schema stays as it is, and so do mappings, whose names are data."""
    if record.value is None or record.kind is None:
        return record.value
    root = _SCHEMAS[record.kind]
    return orjson.dumps(_grown(record.body, root, root))


def _grown(value: Any, schema: Schema, root: Schema) -> Any:
    schema = _resolved(schema, root)
    if isinstance(value, list):
        items = schema.get("prefixItems") or [schema.get("items", {})] * len(value)
        return [_grown(item, part, root) for item, part in zip(value, items, strict=True)]
    if not isinstance(value, dict):
        return value
    for choice in (schema, *(_resolved(one, root) for one in schema.get("anyOf", ()))):
        if "properties" in choice:
            fields = choice["properties"]
            return {name: _grown(item, fields.get(name, {}), root) for name, item in value.items()} | ADDED
    rest = schema.get("additionalProperties", {})
    return {name: _grown(item, rest if isinstance(rest, dict) else {}, root) for name, item in value.items()}


def _resolved(schema: Schema, root: Schema) -> Schema:
    found: Schema = root["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found
