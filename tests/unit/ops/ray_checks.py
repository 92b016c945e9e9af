"""Ray's own checks of cluster and Serve files, and what those let pass; Ray's private parts, kept apart."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start
from ray.serve.schema import ServeDeploySchema

ROOT = Path(__file__).resolve().parents[3]


def checked_cluster(text: str) -> dict[str, Any]:
    """A cluster file as `ray up` completes it, after Ray's validator has accepted it."""
    config: dict[str, Any] = prepare_config(yaml.safe_load(text))
    validate_config(config)
    return config


def start_options(command: str) -> dict[str, Any]:
    """The options of a `ray start` command line, read by Ray's own parser; it refuses unknown ones."""
    _, found, options = command.partition("/ray start ")
    assert found, f"no ray start in {command}"
    return dict(start.make_context("start", shlex.split(options)).params)


def checked_serve(written: Mapping[str, Any]) -> ServeDeploySchema:
    """A Serve config file, accepted by Ray and without keys that Ray ignored."""
    parsed = ServeDeploySchema.model_validate(written)
    if ignored := list(unknown_keys(written, parsed.model_dump(exclude_unset=True, mode="json"))):
        raise ValueError(f"Ray ignores {', '.join(ignored)}")
    return parsed


def unknown_keys(written: Any, parsed: Any, path: str = "") -> Iterator[str]:
    """Paths of keys that were written and did not survive parsing, at any depth."""
    if isinstance(written, Mapping) and isinstance(parsed, Mapping):
        for key, value in written.items():
            if key in parsed:
                yield from unknown_keys(value, parsed[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}".removeprefix(".")
    elif isinstance(written, list) and isinstance(parsed, list):
        for index, (one, other) in enumerate(zip(written, parsed, strict=True)):
            yield from unknown_keys(one, other, f"{path}[{index}]")
