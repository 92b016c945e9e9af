"""The published contract: it is what the types generate, it is valid, it fits real records, it only grows.

The records are those of the golden logs (`tests/golden`), which the shipped code wrote.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from messaging.principals import PRINCIPALS
from messaging.subjects import SUBJECTS
from messaging.topics import GROUPS, TOPICS
from serve_app.contracts.__main__ import DIRECTORY, files
from serve_app.contracts.compatibility import breaks
from serve_app.contracts.records import MESSAGES, RECORDS, kinds
from serve_app.contracts.schemas import Schema, schemas
from tests.golden.logs import LAST, Golden, golden_logs

SCHEMAS = schemas()
GOLDEN = [record for record in golden_logs(LAST) if record.value is not None and record.kind]


def released() -> dict[str, Schema]:
    """The schemas of the last release, as they were published then."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((LAST / "schemas").glob("*.json"))}


def test_committed_files_are_the_generated_ones() -> None:
    """Nobody changed a type without publishing it, or a file by hand."""
    committed = {
        path: path.read_text() for path in (*DIRECTORY.glob("schemas/*.json"), DIRECTORY / "asyncapi.yaml")
    }
    assert committed == files(), "run `python -m serve_app.contracts`"


def test_every_topic_and_subject_has_its_records() -> None:
    """Whoever adds a topic says what lies in it."""
    for topic in TOPICS:
        assert RECORDS.get(topic.name), f"add what {topic.name} holds to serve_app/contracts/records.py"
    assert set(RECORDS) <= {topic.name for topic in TOPICS}
    assert set(MESSAGES) <= {subject.pattern for subject in SUBJECTS}


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """The document as a reader loads it."""
    loaded: dict[str, Any] = yaml.safe_load((DIRECTORY / "asyncapi.yaml").read_text())
    return loaded


class TestAsyncApi:
    """The document, against the rules of AsyncAPI 3.0 and against the hub."""

    def test_it_is_an_asyncapi_document(self, published: dict[str, Any]) -> None:
        """By the models of a library that writes such documents itself, and always writes a `pathname`."""
        servers = {name: {**server, "pathname": ""} for name, server in published["servers"].items()}
        assert ApplicationSchema.model_validate({**published, "servers": servers}).asyncapi == "3.0.0"

    def test_every_reference_leads_somewhere(self, published: dict[str, Any]) -> None:
        """Inside the document, or to a schema file beside it."""
        found = list(_references(published))
        for reference in found:
            if reference.startswith("./"):
                assert (DIRECTORY / reference).is_file(), reference
            else:
                assert _resolved(published, reference) is not None, reference
        assert len(found) > 100

    def test_names_are_as_the_standard_wants_them(self, published: dict[str, Any]) -> None:
        """Tools make identifiers of them."""
        names = [*published["channels"], *published["operations"], *published["components"]["messages"]]
        assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", name) for name in names)

    def test_parameters_are_those_of_the_address(self, published: dict[str, Any]) -> None:
        """Each wildcard of a subject has a name."""
        for channel in published["channels"].values():
            named = set(re.findall(r"{(\w+)}", channel["address"]))
            assert named == set(channel.get("parameters", {}))
            assert "*" not in channel["address"]

    def test_topics_are_bound_as_they_are_made(self, published: dict[str, Any]) -> None:
        """Partitions and policy of `messaging/topics.py`."""
        for topic in TOPICS:
            binding = published["channels"][topic.name]["bindings"]["kafka"]
            configuration = binding["topicConfiguration"]
            assert (binding["topic"], binding["partitions"]) == (topic.name, topic.partitions)
            assert ",".join(configuration["cleanup.policy"]) == topic.policy["cleanup.policy"]
            assert binding["bindingVersion"] == "0.5.0"

    def test_operations_are_the_permissions(self, published: dict[str, Any]) -> None:
        """Who sends and who receives what, with the groups of the hub."""
        sends = {name for name, one in published["operations"].items() if one["action"] == "send"}
        for access in PRINCIPALS:
            owned = {f"{access.principal}.send.{topic.name}" for topic in access.owns}
            assert owned == {
                n for n in sends if n.startswith(f"{access.principal}.send.") and "hub.v1" not in n
            }
        groups = {
            one["bindings"]["kafka"]["groupId"].get("const")
            for one in published["operations"].values()
            if "groupId" in one.get("bindings", {}).get("kafka", {})
        }
        assert groups - {None} == {group.name for group in GROUPS}


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for name, value in part.items() if name == "$ref")
        part = part.values()
    if not isinstance(part, str):
        try:
            for item in part:
                yield from _references(item)
        except TypeError:
            return


def _resolved(root: Any, reference: str) -> Any:
    for token in reference.removeprefix("#/").split("/"):
        root = root[token]
    return root


class TestSchemas:
    """Against records that the shipped code wrote."""

    @pytest.mark.parametrize("name", SCHEMAS)
    def test_it_is_a_json_schema(self, name: str) -> None:
        """Of the dialect it names."""
        Draft202012Validator.check_schema(SCHEMAS[name])

    @pytest.mark.parametrize("name", sorted(kind.name for kind in kinds().values() if kind.type))
    def test_golden_records_pass_and_planted_wrong_ones_do_not(self, name: str) -> None:
        """Without a required field, and with one of another type, a record is refused by that field."""
        validator = Draft202012Validator(SCHEMAS[name])
        bodies = [record.body for record in GOLDEN if record.kind == name]
        assert bodies, f"no golden record of {name}; write the golden logs anew (tests/golden/README.md)"
        for body in bodies:
            validator.validate(body)
        for field in SCHEMAS[name]["required"]:
            without = {key: value for key, value in bodies[0].items() if key != field}
            assert _complaints(validator, without), f"{name} without {field} was accepted"
            assert _complaints(validator, {**bodies[0], field: {"planted": [1]}}), f"{name}.{field}"

    @pytest.mark.parametrize("record", GOLDEN[::40], ids=lambda record: f"{record.topic}-{record.offset}")
    def test_what_a_later_release_adds_passes(self, record: Golden) -> None:
        """A reader with this schema ignores fields it does not know."""
        Draft202012Validator(SCHEMAS[record.kind or ""]).validate({**record.body, "added_later": 1})


def _complaints(validator: Draft202012Validator, body: Any) -> list[Any]:
    return list(validator.iter_errors(body))


class TestCompatibility:
    """Against the last release: the next one is rolled out beside it."""

    def test_nothing_of_the_last_release_is_broken(self) -> None:
        """Every kind is still there, and only fields with a default were added."""
        gone = [name for name in released() if name not in SCHEMAS]
        broken = {name: breaks(old, SCHEMAS[name]) for name, old in released().items() if name in SCHEMAS}
        assert (gone, {name: found for name, found in broken.items() if found}) == ([], {})

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (lambda s: s["properties"].pop("sequence"), "value.sequence: was removed or renamed"),
            (
                lambda s: s["properties"].update(seq=s["properties"].pop("sequence")),
                "value.sequence: was removed",
            ),
            (
                lambda s: s["properties"]["sequence"].update(type="string"),
                "value.sequence: type was 'integer'",
            ),
            (
                lambda s: s["properties"]["sequence"].update(maximum=9),
                "value.sequence: maximum was None, is 9",
            ),
            (lambda s: s["$defs"]["Source"]["properties"].pop("offset"), "value.source.offset: was removed"),
            (lambda s: s["$defs"]["Kind"]["enum"].append("hold"), "value.kind: enum was"),
            (lambda s: s["required"].remove("sequence"), "value.sequence: is required no longer"),
            (
                lambda s: (s["properties"].update(new={"type": "string"}), s["required"].append("new")),
                "value.new: is new and required",
            ),
            (lambda s: s["properties"]["lineage"]["anyOf"].pop(), "value.lineage: had 2 alternatives, has 1"),
        ],
    )
    def test_a_change_that_breaks_is_named(self, change: Callable[[Schema], object], complaint: str) -> None:
        """By the field, so that whoever made it knows what to take back."""
        changed = copy.deepcopy(SCHEMAS["hub.signal-1"])
        change(changed)
        assert any(found.startswith(complaint) for found in breaks(SCHEMAS["hub.signal-1"], changed))

    def test_an_addition_with_a_default_passes(self) -> None:
        """At the top and deeper down."""
        grown = copy.deepcopy(SCHEMAS["hub.signal-1"])
        grown["properties"]["new"] = {"type": "string", "default": ""}
        grown["$defs"]["Source"]["properties"]["new"] = {"type": "integer", "default": 0}
        assert breaks(SCHEMAS["hub.signal-1"], grown) == []


def test_the_documentation_names_every_schema() -> None:
    """A reader finds its way from the README."""
    readme = (DIRECTORY / "README.md").read_text()
    assert all(Path(name).name in readme for name in ("asyncapi.yaml", "schemas"))
