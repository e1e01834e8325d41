"""Needs that had to yield take what space there is after all, and reactive power makes more of it.

A vehicle's need is left where a current limit of its own service is full. At a higher voltage the same
current carries more power, so that inverters elsewhere on the feeder can help: in every step in which such a
vehicle could charge more, their reactive power is changed by the least that would leave the room (Hildreth's
method, as in the repair), and then the vehicles take what exact AC says there is. Steps are judged by
themselves, and those that would break a limit stay as they were: a clean plan stays clean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gridflock.grid._network import Float
from gridflock.plan.network._correction import (
    NEAR,
    NEAR_PU,
    NearRows,
    Workshop,
    at_step,
    least_change,
    near_rows,
    own_space,
    pushed,
)
from gridflock.plan.network._deciders import content, missing_kwh
from gridflock.plan.network._exact import Points
from gridflock.plan.network._movement import COUNTS_KW, COUNTS_KWH, Dispatch, Space, within
from gridflock.plan.network._verdict import Verdict
from gridflock.units import Kwh, Mask

ROUNDS = 3
"""Of making room, each a step of some part of what is lacking."""
PULL = 8.0
"""Money per kW² and step of straying from what vehicles do already."""
WIDE_PU, WIDE = 1e-2, 0.2
"""Rows so near to a limit, pu and part of it, are kept from being broken where room is made."""
CLOSE_PU, CLOSE = 8e-3, 3e-2
"""The same in a single step; currents of a port's own service bound its reactive power by themselves."""
OWN = 0.5
"""Part of the way to the limit of its own service that reactive power goes at once."""
PARTS = (0.3, 0.25, 0.2, 0.15)
"""Of what is lacking, that steps are asked one time after the other until they are clean."""
MORE = 1.2
"""Room is asked for so many times what is lacking: what is granted is less."""
HARDLY = 0.05
"""A round that serves less than this part of what is lacking is the last."""
TRIES = 3
"""How often vehicles take their space: all of it, then without the steps that this would break."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A dispatch with its operating points and its verdict."""

    dispatch: Dispatch
    points: Points
    verdict: Verdict


def unserved_kwh(of: Workshop, dispatch: Dispatch) -> Kwh:
    """(m,) what each need that may yield lacks under a dispatch, kWh; 0 for all other devices."""
    firm = of.kinds.firm
    yields = (firm.x_lo_kwh != of.kinds.soft.x_lo_kwh).any(axis=1)
    missing: Kwh = np.where(yields, missing_kwh(firm, content(firm, dispatch.p_kw)), 0.0)
    return missing


def served(
    of: Workshop, now: Kept, *, rounds: int = ROUNDS, going: Callable[[], bool] = lambda: True
) -> Kept:
    """A clean plan in which needs get what can be found for them; any other is left as it is.

    Args:
        of: feeder, limits and devices.
        now: the plan.
        rounds: in which room is made once what there is has been taken; 0 for none.
        going: asked before each whether there is time for it.
    """
    left = unserved_kwh(of, now.dispatch)
    for turn in range(1 + rounds):
        lacking = left > COUNTS_KWH
        if not now.verdict.clean or not lacking.any() or not going():
            break
        if turn and not len(of.columns.reactive):
            break
        before, near = left.sum(), (WIDE_PU, WIDE) if turn else (NEAR_PU, NEAR)
        rows = near_rows(of, now.dispatch, now.verdict, now.verdict.solved, near)
        eased = _eased(of, now, rows, _asked(of, now.dispatch, left)) if turn else now
        found = _taken(of, eased, rows, lacking)
        left = unserved_kwh(of, found.dispatch)
        if left.sum() > before:
            break
        now = found
        if turn and left.sum() > (1.0 - HARDLY) * before:
            break
    return now


def _asked(of: Workshop, dispatch: Dispatch, left: Kwh) -> Float:
    """(k, T) by how much ports would have to charge more, kW, were every step to give its part."""
    bands, sums = of.kinds.firm, of.columns.sums
    can = np.maximum(dispatch.p_kw - bands.base_kw + bands.down_kw, 0.0) * (left > COUNTS_KWH)[:, None]
    open_h = (can > COUNTS_KW) @ bands.hours
    kwh = left / np.where(bands.gain_down > 0.0, bands.gain_down, 1.0)
    each = MORE * np.divide(kwh, open_h, out=np.zeros_like(kwh), where=open_h > 0.0)
    asked: Float = np.asarray(sums @ np.minimum(each[:, None], can))
    return asked


def _eased(of: Workshop, now: Kept, rows: NearRows, asked: Float) -> Kept:
    """The plan with reactive power that leaves room for what ports are asked, where a step stays clean by it.

    A step that does not is corrected from where it came to, and asked for less each time.
    """
    tried = now
    open_: Mask = np.asarray(asked.any(axis=0), dtype=np.bool_)
    for part in PARTS:
        change = _least(of, tried, rows, part * asked, open_)
        dispatch = Dispatch(now.dispatch.p_kw, tried.dispatch.q_kvar + change)
        tried = Kept(dispatch, *of.judged(dispatch))
        good = (tried.verdict.by_step == 0.0) & open_
        now, open_ = _where(good, tried, now), open_ & ~good
        if not open_.any():
            break
    return now


def _least(of: Workshop, now: Kept, rows: NearRows, asked: Float, steps: Mask) -> Float:
    """(d, T) least change of reactive power that leaves room for what ports are asked in some steps.

    Ports that ask keep theirs: it is a current of their own service, whose least is no matter of a slope.
    """
    columns, dispatch = of.columns, now.dispatch
    own = own_space(of, rows, now.points, now.verdict, reactive=True)
    room = columns.reactive_room(dispatch.p_kw)
    free = asked[columns.reactive] == 0.0
    low = np.maximum(-room - dispatch.q_kvar, -OWN * own.less) * free
    high = np.minimum(room - dispatch.q_kvar, OWN * own.more) * free
    change, weight = np.zeros_like(dispatch.q_kvar), np.ones(len(room))
    for t in np.flatnonzero(steps & now.verdict.solved).tolist():
        here = _beside(of, rows, now.verdict, t)
        near = at_step(of, here, now.points, now.verdict, t)
        grown = near.growth(here, np.append(-asked[:, t], np.zeros(len(room))))
        here = replace(here, volts=here.volts[:, columns.ports :], amps=here.amps[:, :, columns.ports :])
        near = replace(near, room=near.room - grown)
        change[:, t] = least_change(here, near, weight, low[:, t], high[:, t], np.inf)
    return change


def _beside(of: Workshop, rows: NearRows, verdict: Verdict, t: int) -> NearRows:
    """The rows that are near a limit in one step."""
    over = verdict.over[t, of.exact.conductors[rows.at]]
    v = np.maximum(verdict.low_pu[t, rows.nodes], verdict.high_pu[t, rows.nodes]) > -CLOSE_PU
    i = over > -CLOSE
    return NearRows(rows.nodes[v], rows.at[i], rows.volts[v], rows.amps[:, i])


def _taken(of: Workshop, now: Kept, rows: NearRows, lacking: Mask) -> Kept:
    """The plan after needs took the space of their own service; as it was where that breaks a limit."""
    columns, dispatch, which = of.columns, now.dispatch, np.flatnonzero(lacking)
    space, port = own_space(of, rows, now.points, now.verdict), columns.port
    near = space.guarded(pushed(of, rows, now.points, now.verdict, 1.0))
    for _ in range(TRIES):
        each, p_kw = space.shared(port, lacking), dispatch.p_kw.copy()
        p_kw[which], _ = of.kinds.soft.nearest(
            of.price[port[which]], p_kw[which], PULL,
            p_lo_kw=p_kw[which] - each.less[which], p_hi_kw=p_kw[which] + each.more[which], rows=which,
        )  # fmt: skip
        tried = of.possible(Dispatch(p_kw, within(columns, p_kw, dispatch.q_kvar)))
        points, verdict = of.judged(tried)
        if verdict.clean:
            return Kept(tried, points, verdict)
        bad = verdict.by_step > 0.0
        space = Space(np.where(bad, near.less, space.less), np.where(bad, near.more, space.more))
        near = Space(np.where(bad, 0.0, near.less), np.where(bad, 0.0, near.more))
    return now


def _where(steps: Mask, one: Kept, other: Kept) -> Kept:
    """Some steps of one plan, the rest of another; active power is that of both."""
    at = steps[:, None]
    v, w = one.verdict, other.verdict
    q_kvar = np.where(steps, one.dispatch.q_kvar, other.dispatch.q_kvar)
    points = Points(
        np.where(at, one.points.v, other.points.v), np.where(at, one.points.amps, other.points.amps)
    )
    verdict = Verdict(
        np.where(steps, v.solved, w.solved), np.where(at, v.low_pu, w.low_pu),
        np.where(at, v.high_pu, w.high_pu), np.where(at, v.over, w.over),
    )  # fmt: skip
    return Kept(Dispatch(one.dispatch.p_kw, q_kvar), points, verdict)
