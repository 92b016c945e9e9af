"""Refresh tokens: `hrt.<tenant>.<session>.<generation>.<secret>`. Of the secret the hub keeps a hash."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from deployments.control.auth.secret_words import hashed
from models.errors import Unauthenticated

_FORM: Final = re.compile(
    r"hrt\.([a-z0-9-]{1,40})\.([0-9a-f]{32})\.([1-9][0-9]{0,8})\.([A-Za-z0-9_-]{43})", re.ASCII
)


class RefreshToken(NamedTuple):
    """One generation of a session's token."""

    tenant_id: str
    session_id: str
    generation: int
    secret: str

    def __str__(self) -> str:
        """The token itself: for its holder alone."""
        return f"hrt.{self.tenant_id}.{self.session_id}.{self.generation}.{self.secret}"

    def __repr__(self) -> str:
        """Without the secret."""
        return f"RefreshToken({self.tenant_id}, {self.session_id}, {self.generation})"

    @property
    def secret_sha256(self) -> bytes:
        return hashed(self.secret)


def parsed(text: str) -> RefreshToken:
    """The parts of a token; Unauthenticated, in the words for a wrong one, for anything else."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise refused()
    return RefreshToken(form[1], form[2], int(form[3]), form[4])


def refused() -> Unauthenticated:
    """The one answer to a refresh token that is forged, used, or of a session that has ended."""
    return Unauthenticated("this refresh token is not good, or no longer; log in again")
