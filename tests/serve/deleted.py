"""Ends applications side by side: each takes its seconds to let go of its replicas."""

from __future__ import annotations

from ray import serve


def deleted(*applications: str) -> None:
    """Delete these; returns when all are gone."""
    for application in applications:
        serve.delete(application, _blocking=False)
    for application in applications:
        serve.delete(application)
