"""What the control plane says of itself: complete, with examples that hold, and changed only on purpose."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from deployments.control.examples import EXAMPLES
from tests.unit.control.openapi import GOLDEN, description, rendered

DESCRIPTION = description()
WITH_BODY = {
    operation["operationId"]: operation["requestBody"]["content"]["application/json"]
    for operations in DESCRIPTION["paths"].values()
    for operation in operations.values()
    if "requestBody" in operation
}


def test_the_description_is_the_golden_one() -> None:
    """A change of the API shows here; `python -m tests.unit.control.openapi` accepts it."""
    assert rendered(DESCRIPTION) == GOLDEN.read_text()


def test_every_body_has_an_example() -> None:
    """And no example is of an operation that is gone."""
    assert set(WITH_BODY) == set(EXAMPLES)


@pytest.mark.parametrize("operation", sorted(WITH_BODY))
def test_examples_are_what_the_schema_takes(operation: str) -> None:
    """The example that is shown passes, and fails with a field that nobody knows."""
    content: dict[str, Any] = WITH_BODY[operation]
    schema = {**content["schema"], "components": DESCRIPTION["components"]}
    validator = Draft202012Validator(schema)

    validator.validate(content["example"])
    assert list(validator.iter_errors({**content["example"], "no such field": 1}))


def test_every_operation_is_described() -> None:
    """In words, under a tag, with an id of its own."""
    found = [one for operations in DESCRIPTION["paths"].values() for one in operations.values()]

    assert all(one["description"] and one["tags"] for one in found)
    assert len({one["operationId"] for one in found}) == len(found)
