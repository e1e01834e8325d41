"""The last look before the wire: which of the candidate orders may go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch.guard import _kernels
from gridflock.dispatch.guard._asked import Asked, Moves
from gridflock.dispatch.guard._budgets import Asking, hold_budgets, hold_unapproved
from gridflock.dispatch.guard._canary import hold_untried
from gridflock.dispatch.guard._held import Held, Mode
from gridflock.dispatch.guard._limits import GuardLimits
from gridflock.dispatch.guard._memory import Memory, Sent, turning
from gridflock.dispatch.guard._returning import hold_returning, take_back
from gridflock.dispatch.guard._rules import Rules
from gridflock.dispatch.guard._state import GuardState
from gridflock.dispatch.guard._steps import hold_steps
from gridflock.dispatch.guard._swings import come_back, run_out, swung
from gridflock.fleet import Image
from gridflock.model import Orders
from gridflock.units import Codes, Kvar, Kw, Mask, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """What the guard let through.

    Attributes:
        keep: bool (k,) which of the candidates may go.
        why: uint8 (k,) ``Held`` of each.
        q_kvar: (k,) reactive power that goes with each: what is asked, or, where that would turn it once too
            often and active power changes, what the order in force asks.
        start_kw: (k,) power that each change is counted from.
        held_kw: injection change that was held back, kW (signed).
        revoke: rows whose order in force is to be revoked; then nothing else goes.
        state: the guard's state after sending.
        trials: authors whose trial ended in this pass, and whether well.
        accounts: of each proposal, on whose account it moves; empty for the program's own.
        moved: kW that the orders move in each group with a limit on that.
    """

    keep: Mask
    why: Codes
    source: NDArray[np.integer]
    q_kvar: Kvar
    start_kw: Kw
    held_kw: float
    revoke: Rows
    state: GuardState
    trials: Mapping[str, bool]
    accounts: tuple[str, ...]
    moved: Mapping[str, float]

    @property
    def implausible(self) -> int:
        """How many no resource could have followed."""
        return int(((self.why > Held.NOT) & (self.why <= Held.TWICE)).sum())

    def counts(self) -> dict[Held, int]:
        """How many were held, by reason."""
        many = np.bincount(self.why, minlength=len(Held))
        return {held: int(many[held]) for held in Held if held is not Held.NOT and many[held]}


def guard(
    asked: Asked,
    image: Image,
    limits: GuardLimits,
    rules: Rules,
    state: GuardState,
    rows_of: Mapping[str, Rows],
) -> Passed:
    """Judge candidate orders. A pure function of values; it holds whatever the planner asks for.

    A changed order moves its resource from what it does now; one that repeats the order in force
    only by their difference, and goes before all others: holding it back would let the order run
    out, which is itself a change. What is in force is known from the guard's own memory.

    Args:
        asked: the candidates; those of weightier proposals go first.
        image: the process image: nameplates and present power.
        limits: the engineered limits.
        rules: what people have set.
        state: what is known from the ticks before.
        rows_of: members of feeders and groups.

    Returns:
        Which orders may go, why the others may not, and the state after sending.
    """
    now_s = image.now_s
    rules = rules.at(now_s)
    revoking = state.revoking.at(rules.default, now_s, state.now_s, asked.next_id, limits)
    swings = run_out(state.swings, state.memory, state.now_s, image, limits, rows_of)
    state = replace(state, memory=state.memory.released(now_s), revoking=revoking, swings=swings)
    mode = rules.mode_of(image.n, rows_of)
    asking = Asking.of(asked.proposals, rules, limits)
    seen = _look(asked, image, limits, state, asking)
    _hold_modes(seen.why, mode[asked.rows], rules.default is not None)
    moves = Moves.of(asked, seen.move_kw, seen.extra_kw, seen.repeats, seen.move_kvar)
    hold_returning(seen.why, asked, seen.repeats, image, limits, state)
    tried = hold_untried(seen.why, moves, asked, image, limits, state)
    hold_unapproved(seen.why, moves, asking, seen.account, limits, state)
    hold_budgets(seen.why, moves, asking, seen.account, image, limits, state)
    stepped = hold_steps(seen.why, moves, image, limits, state, rows_of)
    keep = seen.why == Held.NOT
    state = tried.sent(keep, asked, moves, now_s)
    swings = swung(state.swings, stepped.net, image, limits, rows_of)
    sent = Sent(
        rows=asked.rows[keep],
        p_kw=np.asarray(asked.p_kw, dtype=np.float64)[keep],
        start_kw=seen.start_kw[keep],
        expires_s=asked.expires_s[keep],
        order_id=np.arange(asked.next_id, asked.next_id + int(keep.sum()), dtype=np.int64),
        account=seen.account[keep],
        accounts=asking.accounts,
        q_kvar=seen.q_kvar[keep],
    )
    revoke = np.zeros(0, dtype=np.int32)
    if rules.default is not None:
        in_force = state.memory
        revoke, state = take_back(image, limits, state, mode, rows_of)
        swings = come_back(swings, in_force, revoke, image, limits, rows_of)
    plates = image.columns["p_min_kw"], image.columns["p_max_kw"], image.columns["s_max_kva"]
    memory = state.memory.took(sent, plates, now_s, limits, stepped.moved)
    state = replace(state, memory=memory, now_s=max(now_s, state.now_s), policy=asked.policy, swings=swings)
    plausible = (seen.why == Held.NOT) | (seen.why > Held.TWICE)
    held_kw = float(seen.move_kw[plausible].sum() - seen.move_kw[keep].sum())
    return Passed(
        keep, seen.why, asked.source, seen.q_kvar, seen.start_kw, held_kw, revoke, state, tried.ended,
        asking.names, stepped.moved,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What each candidate is by itself: columns of ``_kernels.look`` and ``look_kvar``, and its account."""

    why: Codes
    move_kw: Kw
    start_kw: Kw
    extra_kw: Kw
    repeats: Mask
    move_kvar: Kvar
    q_kvar: Kvar
    account: Rows


def _look(asked: Asked, image: Image, limits: GuardLimits, state: GuardState, asking: Asking) -> _Seen:
    """Judge every candidate by itself: plausible, of the right unit and sign, not turning too often."""
    p_kw = np.asarray(asked.p_kw, dtype=np.float64)
    account = np.where(np.isnan(p_kw), np.int32(-1), asking.account[asked.source])
    columns = image.columns
    _, room_s = turning(limits.reversals, limits.reversal_s)
    memory = state.memory.knowing(asking.accounts)
    at = {name: place for place, name in enumerate(memory.accounts)}
    place = np.array([*(at[name] for name in asking.accounts), -1], dtype=np.int32)
    why, move, start, extra, repeats = _kernels.look(
        asked.rows,
        p_kw,
        np.asarray(asked.q_kvar, dtype=np.float64),
        place[account],
        (
            image.p_kw,
            image.p_avail_kw,
            image.family,
            columns["p_min_kw"],
            columns["p_max_kw"],
            columns["s_max_kva"],
            image.heard_s,
            columns["reach_s"],
        ),
        memory.columns,
        image.now_s,
        limits.settle_s,
        room_s,
    )
    move_kvar, turns = _kernels.look_kvar(
        asked.rows,
        np.asarray(asked.q_kvar, dtype=np.float64),
        (image.q_kvar, columns["s_max_kva"], image.heard_s, columns["reach_s"]),
        memory.reactive,
        image.now_s,
        limits.settle_s,
        room_s,
    )
    turns &= why == Held.NOT
    stays = turns & _goes_on(asked, p_kw, repeats, memory, image.now_s)
    why[turns & ~stays] = Held.REVERSAL
    q_kvar = np.where(stays, memory.last_kvar[asked.rows], np.asarray(asked.q_kvar, dtype=np.float64))
    seen = _Seen(why, move, start, extra, repeats, np.where(stays, 0.0, move_kvar), q_kvar, account)
    if not (np.diff(asked.rows) > 0).all():
        _, first, many = np.unique(asked.rows, return_inverse=True, return_counts=True)
        seen.why[many[first] > 1] = Held.TWICE
    return seen


def _goes_on(asked: Asked, p_kw: Kw, repeats: Mask, memory: Memory, now_s: int) -> Mask:
    """(k,) whose active power goes while reactive power may not turn: it changes, or its order runs out.

    One that repeats an order with most of its life ahead says nothing new.
    """
    left_s = memory.expires_s[asked.rows] - now_s
    goes_on: Mask = np.isfinite(p_kw) & (~repeats | (2 * left_s <= asked.expires_s - now_s))
    return goes_on


def _hold_modes(why: Codes, mode: Codes, to_default: bool) -> None:  # noqa: FBT001 - a state passed on
    """Hold what a feeder or group does not take part in, in place."""
    good = why == Held.NOT
    why[good & (mode == Mode.ADVISORY)] = Held.ADVISORY
    why[good & (mode >= Mode.DISABLED)] = Held.DISABLED
    if to_default:
        why[why == Held.NOT] = Held.DEFAULT


def revocation(image: Image, rows: Rows, next_id: int, valid_s: int) -> Orders:
    """Orders that take back those in force: active and reactive power are the device's own again."""
    many = len(rows)
    return Orders(
        ids=image.ids,
        index=rows,
        order_id=np.arange(next_id, next_id + many, dtype=np.int64),
        p_kw=np.full(many, np.nan, dtype=np.float32),
        q_kvar=np.full(many, np.nan, dtype=np.float32),
        expires_s=np.full(many, image.now_s + valid_s, dtype=np.int64),
        source=np.full(many, -1, dtype=np.int16),
        sources=(),
        issued_s=image.now_s,
    )
