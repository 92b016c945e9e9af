"""A token's header and payload as they are sent (RFC 7515, compact), read before anything is believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from jwt.utils import base64url_decode

MAX_TOKEN_CHARS: Final = 8192


def parts_of(bearer: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and payload, unverified; ValueError if they are too long, no objects, or say anything twice."""
    segments = bearer.split(".") if len(bearer) <= MAX_TOKEN_CHARS else []
    if len(segments) != 3:
        raise ValueError("not a compact token")
    return _object(segments[0]), _object(segments[1])


def _object(segment: str) -> Mapping[str, Any]:
    content = json.loads(
        base64url_decode(segment), object_pairs_hook=_without_repeats, parse_constant=_no_constant
    )
    if not isinstance(content, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the input is wrong, not the caller
    return content


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name occurs twice")
    return content


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
