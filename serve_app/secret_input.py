"""How commands take secrets: from a file, from standard input, or typed unseen. Never from the command line,
where every user of the machine could read them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import typer

from models.errors import BadValue

STDIN: Final = Path("-")


def secret_of(file: Path) -> str:
    """The secret in a file, or on standard input for `-`, without the newline at its end."""
    if file != STDIN and not file.is_file():
        raise BadValue(f"{file} is no file", field="password_file")
    text = sys.stdin.read() if file == STDIN else file.read_text()
    secret = text.rstrip("\r\n")
    if not secret:
        raise BadValue("the secret is empty", field="password_file")
    return secret


def new_password(file: Path | None) -> str:
    """A password that somebody chooses: from a file, or typed twice."""
    if file:
        return secret_of(file)
    chosen: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return chosen


def known_password(file: Path | None) -> str:
    """A password that somebody knows: from a file, or typed once."""
    if file:
        return secret_of(file)
    known: str = typer.prompt("Password", hide_input=True)
    return known
