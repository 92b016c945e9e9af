"""JSON Schemas of the records, as a reader should hold them: unknown fields are not an error."""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter

from serve_app.contracts.records import Kind, kinds

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def schemas() -> dict[str, Schema]:
    """Every schema by the name of its kind."""
    return {name: schema_of(kind) for name, kind in sorted(kinds().items()) if kind.type is not None}


def schema_of(kind: Kind) -> Schema:
    """What a value of this kind has to be. Fields that are required here are always written, and so are
    those that can have one value only, which tell the kinds of a topic apart.
    """
    made = _open(TypeAdapter(kind.type).json_schema(by_alias=True, mode="validation"))
    fixed = [name for name, field in made["properties"].items() if "const" in field]
    return {
        "$schema": DIALECT,
        "$id": f"urn:central-hub:schema:{kind.name}",
        **made,
        "required": [*fixed, *(name for name in made["required"] if name not in fixed)],
        "title": kind.name,
        "description": kind.summary,
    }


def _open(part: Any) -> Any:
    """The same without `additionalProperties: false`: what a later release adds is to be ignored. Docstrings
    of nested types stay in the code.
    """
    if isinstance(part, list):
        return [_open(item) for item in part]
    if not isinstance(part, dict):
        return part
    closed = part.get("additionalProperties") is False
    told = isinstance(part.get("description"), str) and "properties" in part
    dropped = {*(["additionalProperties"] if closed else ()), *(["description"] if told else ())}
    return {name: _open(item) for name, item in part.items() if name not in dropped}
