"""What is accepted as requirements, and that every refusal names what was wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.control.quotas.requirements import HEADER, LONGEST, checked, from_headers
from models.errors import BadValue, HubError, Malformed
from models.resources import MOST, Resource

NAMES = [resource.value for resource in Resource]


def test_no_header_is_no_requirement() -> None:
    """Absent is not empty."""
    assert from_headers([]) is None


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(1, MOST), min_size=1))
def test_what_is_whole_and_known_is_taken(wanted: dict[str, int]) -> None:
    """Every resource with every amount that there may be."""
    assert from_headers([json.dumps(wanted)]) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "models=2",
        "{models: 2}",
        '{"models": 2',
        "[" * LONGEST,
        '{"a":' * 800,
        "null",
        "2",
        '["models"]',
        '"models"',
        '{"models": 1, "models": 2}',
        '{"models": {"a": 1, "a": 2}}',
        '{"models": ' + "9" * 4090 + "}",
        '{"models": 1}' + " " * LONGEST,
        "\xff\xfe",
    ],
)
def test_what_is_no_json_object_is_malformed(text: str) -> None:
    """Nothing, other notations, cut short, nested without end, other types, a name twice, too long: 400."""
    with pytest.raises(Malformed) as refused:
        from_headers([text])
    assert (refused.value.field, refused.value.http_status) == (HEADER, 400)


def test_a_header_that_comes_twice_is_malformed() -> None:
    """Which of the two counts would be anybody's guess, also if they agree."""
    with pytest.raises(Malformed, match="2 times"):
        from_headers(['{"models": 1}', '{"models": 1}'])


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{}", HEADER),
        ('{"gpus": 1}', HEADER),
        ('{"models": 1, "Models": 1}', HEADER),
        ('{"models": 0}', f"{HEADER}.models"),
        ('{"models": -1}', f"{HEADER}.models"),
        ('{"models": 1.0}', f"{HEADER}.models"),
        ('{"models": 1e3}', f"{HEADER}.models"),
        ('{"models": NaN}', f"{HEADER}.models"),
        ('{"models": Infinity}', f"{HEADER}.models"),
        ('{"models": true}', f"{HEADER}.models"),
        ('{"models": "1"}', f"{HEADER}.models"),
        ('{"models": null}', f"{HEADER}.models"),
        ('{"models": [1]}', f"{HEADER}.models"),
        ('{"models": 1000000000001}', f"{HEADER}.models"),
    ],
)
def test_a_wrong_value_is_refused_by_name(text: str, field: str) -> None:
    """Empty, unknown, zero, negative, not whole, not finite, another type, too many: 422."""
    with pytest.raises(BadValue) as refused:
        from_headers([text])
    assert (refused.value.field, refused.value.http_status) == (field, 422)


def test_a_strange_name_is_shown_in_plain_characters_and_cut() -> None:
    """Whatever was sent as a name, the message stays one line of ASCII."""
    with pytest.raises(BadValue) as refused:
        checked({"\x1b[31m\n" * 100: 1})
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 250


@given(st.text(max_size=300) | st.recursive(st.none() | st.integers(), st.lists).map(json.dumps))
def test_nothing_but_an_error_of_ours_comes_of_garbage(text: str) -> None:
    """No text whatever raises anything else."""
    try:
        found = from_headers([text])
    except HubError as error:
        assert error.field  # noqa: PT017 - whatever is refused names a field
    else:
        assert found
