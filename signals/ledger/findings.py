"""What the ledger found: counts, and the first oddities in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_EXAMPLES: Final = 20


@dataclass(slots=True)
class Findings:
    """Counts over a run. `duplicated_raw` and `void` are of the raw log, where both are harmless because
    every reader drops them; everything else is after the readers' rules.

    `expected` = `delivered` + `undelivered` + `lost`. Of the delivered, `abstained` ask for nothing and
    `read_late` were in the log in time but too late for this reader to act. `undelivered_by_reason` is what
    the hub recorded, whole slots. The others must be zero:

    * `duplicated`: one delivery took effect twice. `reordered`: an older slot of a series after a newer one.
    * `gaps`: sequence numbers of a user that no valid record of the log carries.
    * `expired`: a reader acted after the expiry.
    * `misdelivered`: under another user's key or tenant. `unsubscribed`: to somebody who did not ask for it.
      `wrong_partition`: where nobody looks for this user.
    * `phantom`: of a slot that was never due or predicted. `forged`: says something of its origin that the
      prediction does not, or bears an id that its fields do not derive.
    * `stale_epoch`: a reader acted on a record of a fenced owner. `diverged`: one offset, two records.
    * `undecodable`: no JSON object of its kind.
    """

    expected: int = 0
    delivered: int = 0
    abstained: int = 0
    undelivered: int = 0
    undelivered_by_reason: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    duplicated: int = 0
    duplicated_raw: int = 0
    reordered: int = 0
    gaps: int = 0
    expired: int = 0
    misdelivered: int = 0
    unsubscribed: int = 0
    wrong_partition: int = 0
    phantom: int = 0
    forged: int = 0
    stale_epoch: int = 0
    diverged: int = 0
    void: int = 0
    read_late: int = 0
    undecodable: int = 0
    examples: list[str] = field(default_factory=list)

    def must_be_zero(self) -> dict[str, int]:
        """Every broken promise by its name, in the order in which people read them."""
        return {
            "lost": self.lost,
            "doubled": self.duplicated,
            "reordered": self.reordered,
            "missing numbers": self.gaps,
            "acted on late": self.expired,
            "to the wrong user": self.misdelivered,
            "not subscribed": self.unsubscribed,
            "on the wrong partition": self.wrong_partition,
            "of no known prediction": self.phantom,
            "of forged origin": self.forged,
            "acted on though fenced": self.stale_epoch,
            "diverged": self.diverged,
            "unreadable": self.undecodable,
        }

    @property
    def clean(self) -> bool:
        """Whether nothing the product promises was broken; undelivered slots are allowed, being recorded."""
        return not any(self.must_be_zero().values())

    @property
    def availability(self) -> float | None:
        """The share of what was due that was delivered in time; None if nothing was due."""
        return self.delivered / self.expected if self.expected else None

    def note(self, what: str) -> None:
        """Keep the first twenty oddities for people."""
        if len(self.examples) < _EXAMPLES:
            self.examples.append(what)
