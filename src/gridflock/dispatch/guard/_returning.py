"""One by one: orders that are taken back, and orders that come again after all were on their default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch._chance import in_turn
from gridflock.dispatch.guard._asked import Asked, Moves
from gridflock.dispatch.guard._held import Held, Mode
from gridflock.dispatch.guard._limits import GuardLimits
from gridflock.dispatch.guard._memory import Memory
from gridflock.dispatch.guard._state import GuardState
from gridflock.dispatch.guard._steps import hold_steps
from gridflock.fleet import Image
from gridflock.model import Priority
from gridflock.units import Codes, Kvar, Kw, Mask, Rows

_RESEND_S = 30
"""A revocation that was not answered goes out again after this."""


def hold_returning(
    why: Codes, asked: Asked, repeats: Mask, image: Image, limits: GuardLimits, state: GuardState
) -> None:
    """Hold, in place, what would come again before its turn, once "all to default" is over.

    What repeats an order that was not taken back, and what holds the grid inside its limits, is not kept
    waiting.
    """
    begun_s = state.revoking.back_s
    if begun_s < 0:
        return
    grid = [wish.priority <= Priority.ENVELOPE and not limits.external(wish) for wish in asked.proposals]
    waits = ~_on_turn(image, state, begun_s, limits.return_s)[asked.rows]
    waits &= ~np.array([*grid, True])[asked.source] & ~repeats
    why[waits & (why == Held.NOT)] = Held.RETURN


def take_back(
    image: Image, limits: GuardLimits, state: GuardState, mode: Codes, rows_of: Mapping[str, Rows]
) -> tuple[Rows, GuardState]:
    """Rows whose order in force is to be taken back now, ascending; who receives nothing is left alone.

    All at once, unless the owner wants it one by one: then whose turn it is a lot decides, within
    ``take_back_s``, and the steps of everything, of feeders and of groups hold. Who has not answered is asked
    again. Whoever is not reached in time comes back when its order ends.
    """
    now_s, memory = image.now_s, state.memory
    open_ = (memory.expires_s > now_s) & (mode == Mode.AUTOMATIC)
    if not open_.any():
        return np.zeros(0, dtype=np.int32), state
    told = np.isnan(memory.last_kw) & np.isnan(memory.last_kvar)
    passed_s = now_s - memory.issued_s
    again = open_ & told & ((passed_s >= _RESEND_S) | (passed_s < 0))
    if limits.take_back_s <= 0:
        rows = np.flatnonzero((open_ & ~told) | again).astype(np.int32)
        return rows, replace(state, memory=memory.revoked(rows, now_s))
    fresh = open_ & ~told & _on_turn(image, state, state.revoking.begun_s, limits.take_back_s)
    lot = _turn(image, state)
    rows = np.flatnonzero(fresh | again).astype(np.int32)
    rows = rows[np.argsort(lot[rows], kind="stable")]
    nothing, why = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.uint8)
    moves = Moves(
        rows, np.full(len(rows), -1), _back_kw(memory, image, rows, limits), nothing,
        np.zeros(len(rows), dtype=bool), _back_kvar(memory, image, rows, limits), why.copy(),
    )  # fmt: skip
    hold_steps(why, moves, image, _steps_of(limits, rows_of), state, rows_of)
    rows = np.sort(rows[why == Held.NOT])
    return rows, replace(state, memory=memory.revoked(rows, now_s))


def _on_turn(image: Image, state: GuardState, begun_s: int, within_s: int) -> Mask:
    """(n,) whose turn has come, where all have theirs within so long of a moment."""
    if within_s <= 0:
        return np.ones(image.n, dtype=bool)
    come: Mask = _turn(image, state) <= (image.now_s - begun_s) / within_s
    return come


def _turn(image: Image, state: GuardState) -> NDArray[np.float64]:
    """(n,) the turn of every row, 0 to 1: by lot, and as long as it is large."""
    size = image.columns["p_max_kw"].astype(np.float64) - image.columns["p_min_kw"]
    return in_turn(f"default {state.revoking.since_s}", np.arange(image.n, dtype=np.int32), size)


def _steps_of(limits: GuardLimits, rows_of: Mapping[str, Rows]) -> GuardLimits:
    """Only steps and speeds, of groups that are there: what else is spent keeps nobody from going back."""
    groups = [
        replace(limit, share=1.0, moved_kw=math.inf, reversals=math.inf)
        for limit in limits.groups
        if limit.group in rows_of
    ]
    return replace(limits, share=1.0, moved_kw=math.inf, groups=tuple(groups))


def _back_kw(memory: Memory, image: Image, rows: Rows, limits: GuardLimits) -> Kw:
    """How far each row's injection goes to be its own again: the longer way where nobody knows."""
    last, now = memory.last_kw[rows].astype(np.float64), image.p_kw[rows].astype(np.float64)
    now = np.nan_to_num(np.where(np.isnan(now), last, now))
    free = image.p_avail_kw[rows].astype(np.float64)
    free = np.where(np.isnan(free), now, free)
    longer = _unsettled(memory, image, rows, limits) & (np.abs(free - last) > np.abs(free - now))
    return free - np.where(longer, last, now)


def _back_kvar(memory: Memory, image: Image, rows: Rows, limits: GuardLimits) -> Kvar:
    """The same of reactive power, which goes back to none; nothing where none was ordered."""
    last, now = memory.last_kvar[rows].astype(np.float64), image.q_kvar[rows].astype(np.float64)
    now = np.where(np.isnan(now), last, now)
    longer = _unsettled(memory, image, rows, limits) & (np.abs(last) > np.abs(now))
    return -np.where(np.isnan(last), 0.0, np.where(longer, last, now))


def _unsettled(memory: Memory, image: Image, rows: Rows, limits: GuardLimits) -> Mask:
    """Of which rows no reading tells yet what the last order did."""
    told_s = memory.issued_s[rows] + limits.settle_s + image.columns["reach_s"][rows]
    found: Mask = image.heard_s[rows] < told_s
    return found
