"""Tests of `storage` that need no server."""
