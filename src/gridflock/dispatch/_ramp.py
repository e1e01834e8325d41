"""Desynchronised starts and returns: an event comes in and goes out device by device.

While an event comes in, a growing share of its members does what it wants and the others what they
would do without it; while it goes out, the other way round. Whose turn it is a hash decides: who came
first goes first. So the sum follows the stated ramp, and no two devices have to agree on anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch._chance import in_turn
from gridflock.model import Priority, Proposal
from gridflock.units import NEVER_S, Kw, Mask, Rows

_WIDTH = 0.05
"""Of the ramp, so much each device takes itself that can take any level."""


@dataclass(frozen=True, slots=True)
class Ramp:
    """An event and how far it has come in.

    Attributes:
        proposal: the event.
        level: share of it that is in, 0 to 1.
        ends: whether it goes out: it is over, or was withdrawn.
    """

    proposal: Proposal
    level: float
    ends: bool = False

    @property
    def moves(self) -> bool:
        """Whether it is neither fully in nor gone."""
        return self.ends or self.level < 1.0


def ramped(
    before: Sequence[Ramp], wishes: Sequence[Proposal], told_s: int, now_s: int, ramp_s: int
) -> tuple[Ramp, ...]:
    """How far each event has come by now.

    An event that was in force before anybody remembers is taken to be fully in.

    Args:
        before: as of the last tick.
        wishes: in force now.
        told_s: moment of the last tick; -1 where there was none.
        now_s: this moment.
        ramp_s: how long an event takes to come in and to go out.
    """
    if ramp_s <= 0:
        return ()
    by = (now_s - told_s) / ramp_s if told_s != NEVER_S else 0.0
    known = {ramp.proposal.id: ramp.level for ramp in before}
    inside, held = [], set()
    for wish in wishes:
        if wish.priority is Priority.EVENT and wish.p_kw is not None:
            started = 1.0 if told_s == NEVER_S and wish.start_s < now_s else 0.0
            inside.append(Ramp(wish, min(1.0, known.get(wish.id, started) + by)))
            held.add(wish.id)
    for ramp in before:
        level = ramp.level - by
        if ramp.proposal.id not in held and level > 0.0:
            until_s = now_s + int(np.ceil(level * ramp_s))
            why = f"returns from: {ramp.proposal.why}" if not ramp.ends else ramp.proposal.why
            inside.append(Ramp(replace(ramp.proposal, until_s=until_s, why=why), level, ends=True))
    return tuple(sorted(inside, key=lambda ramp: ramp.proposal.id))


def share_in(ramp: Ramp, rows: Rows, size_kw: Kw) -> NDArray[np.float64]:
    """(n,) how far each row is in, 0 to 1: all 0 at level 0, all 1 at level 1, each in its turn.

    The turn is by lot, and as long as a member is large: however different they are, the sum goes evenly.

    Args:
        ramp: an event that moves.
        rows: its members.
        size_kw: (n,) size of each row.
    """
    lot = in_turn(ramp.proposal.id, rows, size_kw)
    # Who came in first goes out first.
    lot = 1.0 - lot if ramp.ends else lot
    share: NDArray[np.float64] = np.clip((ramp.level * (1.0 + _WIDTH) - lot) / _WIDTH, 0.0, 1.0)
    return share


def between(without_kw: Kw, with_kw: Kw, share: NDArray[np.float64], steps: Mask, floor_kw: Kw) -> Kw:
    """Targets on the way from those without to those with an event.

    Args:
        without_kw: (n,) finite.
        with_kw: (n,) finite.
        share: (n,) how far each is in.
        steps: (n,) devices that only know on and off.
        floor_kw: (n,) smallest level other than 0, as a magnitude.
    """
    mixed = without_kw + share * (with_kw - without_kw)
    hole = (mixed != 0.0) & (np.abs(mixed) < floor_kw * (1.0 - 1e-9))
    whole = np.where(share > 0.5, with_kw, without_kw)
    return np.where(steps | hole, whole, mixed)
