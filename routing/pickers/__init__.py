"""Pickers: from scores to one choice. The union is the registry."""

from __future__ import annotations

from routing.pickers.best import BestPicker
from routing.pickers.tightest_fit import TightestFitPicker

PickerPlugin = BestPicker | TightestFitPicker
