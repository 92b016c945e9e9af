"""What callers say they need: a JSON object of whole amounts by resource, in the body or in a header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from models.errors import BadValue, Malformed
from models.resources import MOST, Resource

HEADER: Final = "x-resource-requirements"
LONGEST: Final = 4096
_FIELD: Final = "requirements"
_SHOWN: Final = 40
_EXAMPLE: Final = '{"concurrent_inferences": 2}'


def checked(given: Mapping[Any, Any], *, field: str = _FIELD) -> dict[Resource, int]:
    """The same, typed; BadValue that names the resource that is unknown, or of which the amount is none."""
    known = [resource.value for resource in Resource]
    if not given:
        raise BadValue(f"{field} names nothing; expected some of {', '.join(known)}", field=field)
    for name, amount in given.items():
        if name not in known:
            raise BadValue(
                f"{field} names {ascii(name)[:_SHOWN]}, which is no resource; known: {', '.join(known)}",
                field=field,
            )
        if type(amount) is not int or not 0 < amount <= MOST:
            raise BadValue(
                f"{field}: {name} has no amount; expected a whole number from 1 to {MOST}",
                field=f"{field}.{name}",
            )
    return {Resource(name): amount for name, amount in given.items()}


def from_headers(values: Sequence[str]) -> dict[Resource, int] | None:
    """What the header says, None if there is none.

    Raises:
        Malformed: it came twice, is longer than 4 KiB, is no JSON object, or names something twice.
        BadValue: a resource is unknown, or an amount is none.
    """
    if not values:
        return None
    if len(values) > 1:
        raise Malformed(f"{HEADER} came {len(values)} times; send it once", field=HEADER)
    if len(values[0]) > LONGEST:
        raise Malformed(f"{HEADER} is longer than {LONGEST} bytes", field=HEADER)
    found = parsed(values[0], field=HEADER)
    if not isinstance(found, dict):
        raise Malformed(f"{HEADER} is no JSON object; expected something like {_EXAMPLE}", field=HEADER)
    return checked(found, field=HEADER)


def parsed(text: str | bytes, *, field: str) -> Any:
    """JSON in which no object has a name twice, on which readers would not agree. Else Malformed."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise Malformed(f"{field} names something twice; name everything once", field=field)
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise Malformed(f"{field} is not valid JSON", field=field) from None
