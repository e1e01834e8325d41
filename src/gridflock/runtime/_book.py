"""The book of wishes: proposals accepted and not yet over, rebuilt from the ledger."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from threading import Lock

from gridflock.model import Entry, Json, Priority, Proposal


class Book:
    """Proposals in force or to come. Readers get an immutable tuple; writers are serialised."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: dict[str, Proposal] = {}

    def add(self, proposal: Proposal) -> None:
        """Accept a proposal."""
        with self._lock:
            self._open = {**self._open, proposal.id: proposal}

    def withdraw(self, proposal_id: str) -> Proposal | None:
        """Take one out; None if it is not there."""
        with self._lock:
            found = self._open.get(proposal_id)
            self._open = {k: p for k, p in self._open.items() if k != proposal_id}
        return found

    def expire(self, now_s: int) -> tuple[Proposal, ...]:
        """Drop what is over and return it."""
        with self._lock:
            over = tuple(p for p in self._open.values() if p.until_s <= now_s)
            if over:
                self._open = {k: p for k, p in self._open.items() if p.until_s > now_s}
        return over

    def open(self) -> tuple[Proposal, ...]:
        """All of them, oldest first."""
        return tuple(self._open.values())

    def rebuild(self, entries: Iterable[Entry]) -> None:
        """Replay proposals and withdrawals of a ledger."""
        for entry in entries:
            if entry.kind == "proposal":
                proposal = from_head(entry.head)
                self._open[proposal.id] = proposal
            elif entry.kind == "withdrawal":
                self._open.pop(str(entry.head["id"]), None)


def to_head(proposal: Proposal) -> dict[str, Json]:
    """A proposal as the head of a ledger entry; absent bounds are null."""
    return {
        "id": proposal.id,
        "group": proposal.group,
        "priority": proposal.priority.name,
        "author": proposal.author,
        "why": proposal.why,
        "start_s": proposal.start_s,
        "until_s": proposal.until_s,
        "p_kw": proposal.p_kw,
        "p_lo_kw": proposal.p_lo_kw if math.isfinite(proposal.p_lo_kw) else None,
        "p_hi_kw": proposal.p_hi_kw if math.isfinite(proposal.p_hi_kw) else None,
    }


def from_head(head: Mapping[str, Json]) -> Proposal:
    """The inverse of ``to_head``."""
    number = {
        key: None if head[key] is None else float(head[key])  # type: ignore[arg-type]  # written by to_head
        for key in ("p_kw", "p_lo_kw", "p_hi_kw")
    }
    lower, upper = number["p_lo_kw"], number["p_hi_kw"]
    return Proposal(
        id=str(head["id"]),
        group=str(head["group"]),
        priority=Priority[str(head["priority"])],
        author=str(head["author"]),
        why=str(head["why"]),
        start_s=int(head["start_s"]),  # type: ignore[arg-type]  # written by to_head
        until_s=int(head["until_s"]),  # type: ignore[arg-type]  # written by to_head
        p_kw=number["p_kw"],
        p_lo_kw=-math.inf if lower is None else lower,
        p_hi_kw=math.inf if upper is None else upper,
    )
