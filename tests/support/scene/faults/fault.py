"""A fault: what is done to whom, for how long ticks are played meanwhile, and what it must not cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.scene.outcome import Outcome
from tests.support.scene.scene import Cast, Scene, Script, scene

Judge = Callable[[Scene, Outcome], None]
ALONE: Final = Cast()


@dataclass(frozen=True)
class Fault:
    """`available`: floor of the share that must be delivered in time. `recovery_s`: bound, from when the
    fault is over. `silence_s`: bound of the longest silence of any user. `sign`: a count that must have told
    an operator. `judge` asserts what else must hold.
    """

    name: str
    script: Script
    seconds: float
    available: float
    recovery_s: float
    cast: Cast = ALONE
    silence_s: float = float("inf")
    sign: str = ""
    judge: Judge = lambda _scene, _outcome: None

    async def happen(self, directory: Path) -> Outcome:
        """Open a scene, let it happen, close the scene; the outcome is still to be checked."""
        async with scene(directory, self.cast) as opened:
            outcome = await opened.play(self.name, self.script, seconds=self.seconds)
            self.judge(opened, outcome)
        return outcome

    def check(self, outcome: Outcome) -> None:
        """Assert the ledger, the floors and the sign."""
        outcome.check(available=self.available, recovery_s=self.recovery_s)
        assert outcome.longest_silence_s <= self.silence_s, outcome.row()
        assert not self.sign or outcome.seen.signs.get(self.sign, 0) > 0, outcome.seen
