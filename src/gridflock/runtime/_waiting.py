"""What waits for a second person: proposals, goals, and what a system above asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridflock.model import Entry, Json, Priority, Proposal
from gridflock.plan.goals.stated import Stated
from gridflock.runtime import _show
from gridflock.runtime._allowed import AUTHOR, id_of
from gridflock.runtime._book import from_head, to_head
from gridflock.runtime._guard_views import WaitingView
from gridflock.runtime._kept import KeptBroken, from_bytes, to_bytes
from gridflock.runtime._rules import KIND
from gridflock.runtime._views import number
from gridflock.units import iso

_ALL = "all"
_WHY_CHARS = 500


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that waits for a second person.

    Attributes:
        proposal: as it was asked; of goals and of a system above who asks, why and of whom.
        kw: what it would displace.
        until_s: it waits so long.
        goals: those that wait; None where something else does.
    """

    proposal: Proposal
    kw: float
    until_s: int
    goals: Stated | None = None

    @property
    def wish(self) -> bool:
        """Whether it is a proposal, and neither goals nor what a system above asks."""
        return self.goals is None and self.proposal.id != id_of(self.proposal.author)

    def entry(self, now_s: int) -> Entry:
        """What the ledger keeps of it."""
        wish = self.proposal
        text = _show.wish_text(wish) if self.wish else f"{wish.why}, by {wish.author}"
        head: dict[str, Json] = {"verb": "waits", "proposal": to_head(wish), "kw": self.kw}
        head |= {"id": wish.id, "group": wish.group, "author": wish.author, "why": wish.why}
        head |= {"until_s": self.until_s, "text": f"waits for a second person: {text}"}
        columns = {} if self.goals is None else {"goals": np.frombuffer(to_bytes(self.goals), dtype=np.uint8)}
        return Entry(KIND, now_s, head, columns)

    def view(self, limit_kw: float) -> WaitingView:
        """For people; ``limit_kw`` is what one person may displace."""
        wish = self.proposal
        return WaitingView(
            wish.id,
            wish.group,
            wish.author,
            wish.why,
            wish.p_kw,
            number(wish.p_lo_kw),
            number(wish.p_hi_kw),
            round(self.kw, 3),
            round(limit_kw, 3),
            iso(self.until_s),
        )


def waiting_goals(goals: Stated, until_s: int) -> Waiting:
    """Goals that one person alone may not state."""
    names = ", ".join(goal.name for goal in goals.goals) or "none"
    why = f"goals: {names}"[:_WHY_CHARS]
    asks = Proposal(goals.id, _ALL, Priority.SCHEDULE, goals.author, why, 0, until_s)
    return Waiting(asks, goals.moves_kw, until_s, goals)


def waiting_above(author: str, group: str, kw: float, until_s: int) -> Waiting:
    """What a system above asks beyond that less may pass the head."""
    asks = Proposal(id_of(author), group, Priority.MARKET, author, "asked by the system above", 0, until_s)
    return Waiting(asks, kw, until_s)


def with_waiting(waiting: Mapping[str, Waiting], one: Waiting, now_s: int) -> dict[str, Waiting]:
    """What waits with one more; without what is over, and former goals of the same author."""
    author = one.proposal.author
    left = {
        name: other
        for name, other in waiting.items()
        if other.until_s > now_s
        and (one.goals is None or other.goals is None or other.proposal.author != author)
    }
    return {**left, one.proposal.id: one}


def still_waiting(entries: Iterable[Entry]) -> dict[str, Waiting]:
    """Replay what waits from a ledger."""
    found: dict[str, Waiting] = {}
    for entry in entries:
        head: Mapping[str, Any] = entry.head
        if head.get("verb") == "waits":
            one = _waiting_of(entry)
            found = found if one is None else with_waiting(found, one, entry.time_s)
        elif head.get("verb") in ("approve", "refuse"):
            found.pop(head["id"], None)
    return found


def _waiting_of(entry: Entry) -> Waiting | None:
    """What an entry tells of; None for what another version wrote of goals, or of a system above."""
    head: Mapping[str, Any] = entry.head
    goals = None
    if head["proposal"].get("id") == AUTHOR:
        return None  # without its author: whom it would be approved for is not said
    if "goals" in entry.columns:
        try:
            goals = from_bytes(entry.columns["goals"].tobytes())
        except KeptBroken:
            return None
    return Waiting(from_head(head["proposal"]), float(head["kw"]), int(head["until_s"]), goals)
