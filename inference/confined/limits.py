"""What an artefact from a stranger may cost while it is looked at."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.base import Frozen


class Limits(Frozen):
    """`file_bytes` bounds the artefact, `memory_bytes` what its process may allocate, `cpu_s` and `wall_s`
    how long it may work and take, `share` of one processor while it does, `nodes` the graph with every
    function written out.
    """

    file_bytes: Annotated[int, Field(gt=0)] = 64 << 20
    memory_bytes: Annotated[int, Field(gt=0)] = 512 << 20
    cpu_s: Annotated[int, Field(gt=0)] = 5
    wall_s: Annotated[float, Field(gt=0)] = 30.0
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    nodes: Annotated[int, Field(gt=0)] = 100_000
