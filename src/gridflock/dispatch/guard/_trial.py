"""Whom an author who is not proven yet has asked, and what of it has been answered."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.units import NEVER_S, Kw, Mask, Rows, Seconds

_NOBODYS = np.iinfo(np.int64).max
"""Order id of who follows somebody else by now: no answer counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """An author who is watched, tried out, or rests; of those asked there are k.

    Attributes:
        rows: int32 (k,) members that orders went out to, ascending.
        first_id: int64 (k,) answers to orders from this id on count: there are no other author's among them.
        first_s: (k,) since when each is asked.
        last_s: (k,) when last.
        moved_kw: float64 (k,) what it was asked to move by, all added.
        good: (k,) which have answered well.
        bad: (k,) which have refused or were not reached.
        wanted: so many are asked before anybody else; 0 as long as the author is only watched.
        since_s: when the trial began; -1 where it has not.
        rests_until_s: after a failed trial nothing of this author goes out before; -1 where none has failed.
    """

    rows: Rows
    first_id: NDArray[np.int64]
    first_s: Seconds
    last_s: Seconds
    moved_kw: Kw
    good: Mask
    bad: Mask
    wanted: int = 0
    since_s: int = NEVER_S
    rests_until_s: int = NEVER_S

    @classmethod
    def of_nobody(cls, rests_until_s: int = NEVER_S) -> Trial:
        """Nobody was asked yet."""
        moments, none = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
        rows = np.zeros(0, dtype=np.int32)
        return cls(rows, moments, moments, moments, np.zeros(0), none, none, rests_until_s=rests_until_s)

    @property
    def failed(self) -> bool:
        """Whether the last trial ended badly."""
        return self.rests_until_s != NEVER_S

    def on(self, now_s: int) -> bool:
        """Whether it holds anything back now: it is a trial, or a rest."""
        return self.wanted > 0 or self.rests_until_s > now_s

    def has(self, rows: Rows) -> Mask:
        """Which of some rows have been asked."""
        return _among(rows, self.rows)

    def asked(self, rows: Rows, order_id: NDArray[np.int64], kw: Kw, now_s: int) -> Trial:
        """The same after further orders went out: each row once, ``kw`` >= 0."""
        every = np.union1d(self.rows, rows).astype(np.int32)
        before, now = np.searchsorted(every, self.rows), np.searchsorted(every, rows)
        first_id, first_s = (np.full(len(every), value, dtype=np.int64) for value in (_NOBODYS, now_s))
        last_s, moved_kw = first_s.copy(), np.zeros(len(every))
        good, bad = np.zeros((2, len(every)), dtype=bool)
        first_id[before], first_s[before], last_s[before] = self.first_id, self.first_s, self.last_s
        moved_kw[before], good[before], bad[before] = self.moved_kw, self.good, self.bad
        new = first_id[now] == _NOBODYS
        first_id[now[new]], first_s[now[new]], last_s[now] = order_id[new], now_s, now_s
        moved_kw[now] += kw
        return replace(
            self, rows=every, first_id=first_id, first_s=first_s, last_s=last_s, moved_kw=moved_kw,
            good=good, bad=bad,
        )  # fmt: skip

    def taken(self, sent: Rows, own: Rows) -> Trial:
        """The same after orders went out, ascending: who got somebody else's answers to that one."""
        theirs = _among(self.rows, sent) & ~_among(self.rows, own)
        if not (theirs & (self.first_id != _NOBODYS)).any():
            return self
        return replace(self, first_id=np.where(theirs, _NOBODYS, self.first_id))

    def silent(self, patience_s: NDArray[np.float64], now_s: int) -> Mask:
        """(k,) who should have answered by now and has not; ``patience_s`` (k,).

        Who follows somebody else by now is one of them: nobody could wait for it to the end of its days.
        """
        found: Mask = ~self.good & (now_s - self.first_s >= patience_s)
        return found

    def answered(self, rows: NDArray[np.integer], order_id: NDArray[np.int64], good: Mask) -> Trial:
        """The same with further answers."""
        place = np.searchsorted(self.rows, rows)
        inside = place < len(self.rows)
        place, rows, order_id, good = place[inside], rows[inside], order_id[inside], good[inside]
        mine = (self.rows[place] == rows) & (order_id >= self.first_id[place])
        if not mine.any():
            return self
        well, badly = self.good.copy(), self.bad.copy()
        well[place[mine & good]], badly[place[mine & ~good]] = True, True
        return replace(self, good=well, bad=badly & ~well)

    def since(self, first_s: int) -> Trial:
        """The same without those who were not asked any more since a moment."""
        keep = self.last_s > first_s
        if keep.all():
            return self
        return replace(
            self, rows=self.rows[keep], first_id=self.first_id[keep], first_s=self.first_s[keep],
            last_s=self.last_s[keep], moved_kw=self.moved_kw[keep], good=self.good[keep], bad=self.bad[keep],
        )  # fmt: skip

    def later(self, leapt_s: int) -> Trial:
        """The same after a clock was set ahead: who was asked was asked as long ago as was lived."""
        return replace(
            self,
            first_s=self.first_s + leapt_s,
            last_s=self.last_s + leapt_s,
            since_s=self.since_s + leapt_s * (self.since_s != NEVER_S),
            rests_until_s=self.rests_until_s + leapt_s * self.failed,
        )


def _among(rows: Rows, others: Rows) -> Mask:
    """Which of some rows are among others, ascending."""
    if not len(others):
        return np.zeros(len(rows), dtype=bool)
    place = np.minimum(np.searchsorted(others, rows), len(others) - 1)
    found: Mask = others[place] == rows
    return found
