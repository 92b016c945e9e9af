"""What a card says of a model beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from models.task import DataSize


@dataclass(frozen=True, slots=True)
class About:
    """Name, version, family and limits of a model, and one sentence for people."""

    name: str
    family: str
    description: str
    version: str = "1"
    max_size: DataSize = DataSize.LARGE
