"""What can be asked of a model that is in the catalogue, and a model that is brought to it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Base64Bytes, Field

from models.base import Frozen
from models.card import ModelCard


class Step(StrEnum):
    """From one status to another; `rollback` is asked of a name, the others of a version."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"
    RETIRE = "retire"


class Move(Frozen):
    """A step, of `name@version` or for `rollback` of a name, and why."""

    step: Step
    model: str
    reason: str


class NewModel(Frozen):
    """A model to register: its card and its ONNX file. Status and latencies of the card are not believed:
    every model begins as a candidate and is measured here. Without evidence it is unmeasured, and never
    chosen for what it is good at. The file of an ensemble is the recipe on its card as JSON without spaces;
    what follows from its members is not believed either.
    """

    card: ModelCard
    artefact: Annotated[Base64Bytes, Field(description="The ONNX file or recipe, in base64", min_length=1)]
