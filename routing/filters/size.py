"""Keep models that take as many windows in one call as the request may hold."""

from __future__ import annotations

from typing import ClassVar, Literal

from models.request import Requirements
from models.task import DataSize
from routing.catalogue import Catalogue, Mask
from routing.plugin import Plugin


class SizeFilter(Plugin):
    """The card's largest size is at least the size asked for."""

    type: Literal["size"]
    requirement: ClassVar[str] = "data_size"

    def keeps(self, wanted: Requirements, catalogue: Catalogue) -> Mask:
        return catalogue.max_rows >= wanted.data_size.max_rows

    def reason(self, wanted: Requirements, catalogue: Catalogue, model: int) -> str:
        return f"takes up to {catalogue.max_rows[model]} windows, {wanted.data_size.value} may hold more"

    def asked(self, wanted: Requirements) -> str:
        return wanted.data_size.value

    def best(self, _wanted: Requirements, catalogue: Catalogue, among: Mask) -> str:
        """The largest size that one of the models takes."""
        return DataSize.of_rows(int(catalogue.max_rows[among].max())).value
