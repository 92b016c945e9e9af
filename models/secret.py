"""Secrets by reference, so that no secret is ever part of a configuration, a pickle or a log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import model_validator

from models.base import Frozen
from models.errors import ConfigError


class SecretRef(Frozen):
    """Names where a secret is: an environment variable or a file. Resolved in the process that uses it."""

    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("name exactly one of `env` and `file`")
        return self

    def resolve(self) -> str:
        """The secret, without a trailing newline; ConfigError names the place if it is missing or empty."""
        value = os.environ.get(self.env, "") if self.env else _content(Path(self.file or ""))
        if not value:
            raise ConfigError(f"secret {self._place()} is missing or empty; set it before starting the hub")
        return value

    def _place(self) -> str:
        return f"in environment variable {self.env}" if self.env else f"in file {self.file}"


def _content(path: Path) -> str:
    return path.read_text().rstrip("\n") if path.is_file() else ""
