"""Filters: requirements that a model meets or does not. The union is the registry, in no particular order."""

from __future__ import annotations

from routing.filters.accuracy import AccuracyFilter
from routing.filters.entitlement import EntitlementFilter
from routing.filters.horizon import HorizonFilter
from routing.filters.instrument import InstrumentFilter
from routing.filters.size import SizeFilter
from routing.filters.status import StatusFilter
from routing.filters.task import TaskFilter

FilterPlugin = (
    TaskFilter
    | StatusFilter
    | EntitlementFilter
    | InstrumentFilter
    | HorizonFilter
    | SizeFilter
    | AccuracyFilter
)
