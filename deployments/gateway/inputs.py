"""Tensors out of JSON: shapes and values are checked before anything is decided about them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from deployments.gateway.markets import Tensors
from models.errors import BadShape, BadValue
from models.request import Inputs
from models.task import TaskContract

_EXAMPLE: Final = "send one row of {columns} numbers per window"


def tensors_of_inputs(inputs: Inputs, task: TaskContract) -> Tensors:
    """`window` float32[n, 256] and `context` float32[n, k], n >= 1; BadShape or BadValue names the place."""
    window = _matrix(inputs.window, columns=task.window, field="inputs.window")
    context = _matrix(inputs.context, columns=len(task.context), field="inputs.context")
    if len(window) != len(context):
        raise BadShape(
            f"inputs.context has {len(context)} rows, inputs.window has {len(window)}", field="inputs.context"
        )
    return Tensors(window, context)


def _matrix(rows: list[list[float]], *, columns: int, field: str) -> NDArray[np.float32]:
    if not rows:
        raise BadShape(f"{field} is empty; {_EXAMPLE.format(columns=columns)}", field=field)
    for number, row in enumerate(rows):
        if len(row) != columns:
            raise BadShape(
                f"{field}[{number}] holds {len(row)} numbers; {_EXAMPLE.format(columns=columns)}",
                field=f"{field}[{number}]",
            )
    with np.errstate(over="ignore"):
        matrix = np.asarray(rows, dtype=np.float64).astype(np.float32)
    _check_finite(matrix, field)
    return matrix


def _check_finite(matrix: NDArray[np.float32], field: str) -> None:
    wrong = np.argwhere(~np.isfinite(matrix))
    if len(wrong):
        place = f"{field}[{wrong[0][0]}][{wrong[0][1]}]"
        raise BadValue(f"{place} is no finite 32-bit number", field=place)
