"""Bounds on numbers in configuration: one outside of them stops the load, and the error names its field."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Gain = Annotated[float, Field(gt=0, le=1)]
"""What the newest measurement counts in an average, or another share that is more than none."""
