"""Pickers: from scores to one choice. The union is the registry."""

from __future__ import annotations

from routing.pickers.best import BestPicker

PickerPlugin = BestPicker
