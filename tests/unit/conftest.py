"""Unit tests count examples, not milliseconds: a busy machine must not fail a property."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("hub", deadline=None)
settings.load_profile("hub")
