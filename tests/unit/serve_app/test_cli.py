"""The command itself: what is refused is told word by word, with exit code 2."""

from __future__ import annotations

import pytest

from models.errors import BadValue
from serve_app import cli


def test_a_message_is_text_and_no_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Brackets of a pattern or an extra are part of it."""

    def refuse() -> None:
        raise BadValue("name should match '^[a-z][a-z0-9-]*$'; install 'central-hub[local]'", field="name")

    monkeypatch.setattr(cli, "app", refuse)
    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said == "bad_value: name should match '^[a-z][a-z0-9-]*$'; install 'central-hub[local]'"
