"""Which tokens need not be verified again."""

from __future__ import annotations

from deployments.front.verified import KEPT_S, MOST, VerifiedTokens
from models.principal import Principal
from tests.unit.gateway.doubles import principal

ALICE = principal("alice")


class Remembered(VerifiedTokens):
    """With a clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        super().__init__(lambda: self.now_s)

    def remember(self, token: str, *, expires_s: float) -> None:
        """Keep a token of Alice."""
        self.keep(token, ALICE, expires_s=expires_s, kid=None, key="key")

    def whose(self, token: str) -> Principal | None:
        """Whose a token is, if that is known."""
        known = self.find(token)
        return known and known.principal


def test_a_good_token_is_believed_for_a_while() -> None:
    """And then has to be verified anew, as one that differs in a character has to be at once."""
    known = Remembered()
    known.remember("token", expires_s=5000.0)

    assert known.whose("token") == ALICE
    assert known.whose("tokem") is None
    known.now_s += KEPT_S
    assert known.whose("token") is None


def test_no_token_is_believed_beyond_its_end() -> None:
    """Also if it was verified a moment before."""
    known = Remembered()
    known.remember("token", expires_s=1001.0)
    known.now_s = 1001.0

    assert known.whose("token") is None


def test_a_clock_that_is_set_back_makes_tokens_unknown() -> None:
    """Or they would be believed for as much longer."""
    known = Remembered()
    known.remember("token", expires_s=5000.0)
    known.now_s -= 1.0

    assert known.whose("token") is None


def test_the_oldest_are_forgotten() -> None:
    """Memory is bounded, whatever callers send."""
    known = Remembered()
    for number in range(MOST + 1):
        known.remember(f"token-{number}", expires_s=5000.0)

    assert known.whose("token-0") is None
    assert known.whose("token-1") == known.whose(f"token-{MOST}") == ALICE
