"""Following a signal that never rests: what regulation makes of the members that nothing weightier asks.

On/off loads carry the slow part and switch no more than they must (``sharing.switching.Stack``), smooth
devices the fast part and what whole loads leave; what the group still misses is added to what is asked
of it in the next tick (``Tracker``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.fleet import Image, split
from gridflock.fleet.sharing.switching import Stack, Tracker, hear, stack_of, switchable
from gridflock.model import Capability
from gridflock.units import Kw, Rows

_STALE_S = 60
"""An on/off load not heard for so long is silent."""
_KEPT = 0.5
"""Smooth devices take up so much of their room before loads are switched."""
_CORRECTED = 0.1
"""Largest correction, as a share of what the members can move."""


@dataclass(frozen=True, slots=True, eq=False)
class Following:
    """A signal being followed, from one tick to the next.

    Attributes:
        group: whose sum follows it.
        rows: int32 (m,) the on/off loads of the stack.
        stack: their state.
        tracker: what the group fails to deliver.
        wanted_kw: what the last tick wanted of all its members.
    """

    group: str
    rows: Rows
    stack: Stack
    tracker: Tracker
    wanted_kw: float


def follow(
    before: Following | None,
    group: str,
    wanted_kw: float,
    rows: Rows,
    image: Image,
    able: Capability,
    previous_kw: Kw,
) -> tuple[Following, Kw]:
    """Share the signal's present value.

    Args:
        before: as of the last tick; None where the signal is new.
        group: whose sum follows it.
        wanted_kw: wanted sum of the rows.
        rows: (m,) members that nothing weightier asks.
        image: the process image.
        able: (n,) what the rows can do.
        previous_kw: (n,) orders in force.

    Returns:
        What is known for the next tick, and (m,) targets inside ``able``.
    """
    loads = rows[np.isin(rows, switchable(image))]
    lo, hi = able.p_lo_kw[rows], able.p_hi_kw[rows]
    same = before is not None and np.array_equal(before.rows, loads)
    stack = before.stack if before is not None and same else stack_of(image, loads)
    tracker = before.tracker if before is not None else Tracker(0.0)
    smooth = np.ones(len(rows), dtype=bool)
    smooth[np.isin(rows, loads)] = False
    aim = wanted_kw + tracker.correction_kw
    room = float(lo[smooth].sum()), float(hi[smooth].sum())
    rest = float(np.clip(aim - stack.p_kw, _KEPT * room[0], _KEPT * room[1]))
    stepped = stack.step(aim - rest, *hear(image, loads, _STALE_S), image.now_s, tracker.response)
    p_kw = np.zeros(len(rows))
    on = np.where(stepped.stack.on == 1, stepped.stack.p_on_kw.astype(np.float64), 0.0)
    p_kw[~smooth] = np.clip(on, lo[~smooth], hi[~smooth])
    if smooth.any():
        left = aim - float(p_kw.sum())
        p_kw[smooth] = split(left, rows[smooth], image, able, previous_kw).p_kw
    measured = float(np.asarray(image.p_kw, dtype=np.float64)[rows].sum())
    tracker = Tracker(
        _CORRECTED * float((hi - lo).sum()), response=tracker.response, correction_kw=tracker.correction_kw
    )
    if before is not None:
        tracker = tracker.heard(before.wanted_kw, measured, stepped.asked_kw, stepped.arrived_kw)
    return Following(group, loads, stepped.stack, tracker, wanted_kw), p_kw
