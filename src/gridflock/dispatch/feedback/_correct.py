"""One tick of feedback: levels, rooms, the least change, and who is held by what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gridflock.dispatch.feedback._level import Levels, Past, between, heard, rebased, weighed
from gridflock.dispatch.feedback._sight import UNIT_WORDS, Able, Float, Powers, Quantity, Sight, Standing
from gridflock.dispatch.feedback._solve import Program, Solved, growth_of, instead, solve
from gridflock.dispatch.feedback._state import Correction, Feedback, Tuning
from gridflock.dispatch.feedback._together import TURNS_S, Common, usual
from gridflock.dispatch.feedback._watch import Mode, Watch, answers, judged
from gridflock.units import Kvar, Kw, Mask, Rows

_MOVED_KW = 1e-6
MORE = 2.0
"""A margin's variance is never more than so many times that of a row long watched, and the drift since."""
_CLEAR = 5.0
"""Standard deviations beyond which a new row's violation is no noise."""
_LEAST = 0.55
"""What orders do is never taken for less, as a part of what they should."""
FAR_PU, LEAST_PART = 0.04, 0.2
"""A feeder's voltages follow powers in proportion so far; the least part of an answer that is not put off."""
_UNIT_PU, _UNIT = 0.01, 0.01
"""What counts as one of a voltage, and of other quantities as a part of their limit."""


def correct(
    state: Feedback,
    sight: Sight,
    wanted: Powers,
    standing: Standing,
    able: Able,
    now_s: float,
    tuning: Tuning | None = None,
) -> Correction:
    """Move targets as little as keeps what is measured inside its limits. A pure function.

    Args:
        state: what the last tick left.
        sight: measured quantities and their limits, m rows.
        wanted: (n,) target of each resource before feedback, or what it does unasked (sun: all there is);
            NaN where it is to be left alone. Reactive power NaN counts as 0.
        standing: (n,) what each is known to do.
        able: (n,) what each can do.
        now_s: this tick.
        tuning: how feedback acts.

    Returns:
        Targets inside ``able``; what is silent or not asked stays as it is.
    """
    tuning = tuning or Tuning()
    state = state.fitted(sight)
    doing_p, doing_q = _doing(state, standing, wanted)
    before = state.past
    if len(before.at_s):
        before = rebased(before, *_by_itself(state, doing_p, doing_q, standing, able))
    past = heard(before, doing_p, doing_q, standing.since_s, now_s, tuning.memory_s)
    levels, common, watch = _read(state, sight, past, now_s, tuning)
    pending = between(sight, past, levels.seen_s, np.full(sight.m, now_s))
    level, margin = _ahead(levels, common, sight, pending, now_s, tuning)
    high, low, reference = _limits(state, sight, levels, margin, now_s, tuning)
    free = able.answers & (sight.effects.column >= 0) & np.isfinite(wanted.p_kw)
    kept = _kept(state, now_s, tuning)
    anchor = (
        np.nan_to_num(wanted.p_kw) + kept * state.by_kw - doing_p,
        np.nan_to_num(wanted.q_kvar) + kept * state.by_kvar - doing_q,
    )
    room = _rooms(high - level, level - low, levels, state.price)
    program = _program(sight, levels, room, margin, able, anchor, tuning)
    found = _within_discs(program, state.price, able, free, doing_p, doing_q, wanted)
    found = _tried_out(found, program, levels, pending, sight)
    unit = _units(sight)
    violation = np.fmax(levels.value - sight.high, sight.low - levels.value) / unit
    ended = found.exact or found.eases
    watch, alarm = judged(watch, sight, violation, np.isfinite(level), tuning.trust, now_s, exact=ended)
    after = replace(
        state, levels=levels, common=common, past=past, reference=reference, watch=watch, now_s=now_s,
        p_lo_kw=able.p_lo_kw, p_hi_kw=able.p_hi_kw,
    )  # fmt: skip
    if watch.mode is Mode.LOCAL:
        return _left_alone(after, level, margin, alarm)
    n = len(doing_p)
    p_kw, q_kvar = doing_p + found.x[:n], doing_q + found.x[n:]
    reactive = able.q_most_kvar > 0.0
    by_kw = np.where(free, p_kw - np.nan_to_num(wanted.p_kw), 0.0)
    by_kvar = np.where(free & reactive, q_kvar - np.nan_to_num(wanted.q_kvar), 0.0)
    held, by = _holders(found, sight, by_kw, by_kvar)
    grown = level + levels.gain * found.growth
    beyond = np.nan_to_num(np.fmax(grown - high, low - grown))
    return Correction(
        np.where(np.isfinite(wanted.p_kw), p_kw, np.nan), np.where(reactive, q_kvar, np.nan), held, by, grown,
        np.maximum(beyond, 0.0), margin, replace(after, price=found.price, by_kw=by_kw, by_kvar=by_kvar),
        watch.mode, alarm, found.climbs, found.exact,
    )  # fmt: skip


def _left_alone(state: Feedback, level: Float, margin: Float, alarm: str) -> Correction:
    """No targets: devices follow their own policies, and what was held is forgotten."""
    none, nobody = np.full(len(state.by_kw), np.nan), np.zeros(0, dtype=np.int32)
    forgotten = replace(
        state, price=np.zeros_like(state.price), by_kw=np.zeros(len(none)), by_kvar=np.zeros(len(none))
    )
    return Correction(
        none, none, nobody, nobody, level, np.zeros(len(level)), margin, forgotten, Mode.LOCAL, alarm, 0,
        exact=True,
    )  # fmt: skip


def _program(
    sight: Sight, levels: Levels, room: Float, margin: Float, able: Able, anchor: tuple[Kw, Kvar],
    tuning: Tuning,
) -> Program:  # fmt: skip
    """The program of changes from what is being done; its bounds come with the discs.

    Margins are where prices grow: a limit without one is hard.
    """
    column = sight.effects.column
    both = np.concatenate([column, column + sight.effects.ports])
    x = np.concatenate(anchor).astype(np.float64)
    return Program(
        sight.effects.matrix, room, np.maximum(room, 0.0), _units(sight) / levels.gain,
        np.nan_to_num(np.abs(margin)) / levels.gain,
        np.where(np.tile(column, 2) < 0, 0, both).astype(np.int32),
        np.concatenate([able.ease * tuning.active, able.ease]), x, x, x,
    )  # fmt: skip


def _units(sight: Sight) -> Float:
    """(m,) what counts as one of each quantity."""
    limit = np.fmin(np.abs(sight.high), np.abs(sight.low))
    usual = np.where(np.isfinite(limit) & (limit > 0.0), _UNIT * limit, 1.0)
    return np.where(sight.quantity == Quantity.VOLTAGE, _UNIT_PU, usual)


def _rooms(above: Float, below: Float, levels: Levels, price: Float) -> Float:
    """(2m,) by how much rows may grow and fall as their sensitivities have it.

    Orders may do less than they should where a limit is broken, and more where it is near. A limit that held
    somebody when its readings stopped goes on to hold: what is not seen is not loosened.
    """
    room = np.concatenate([above, below])
    gain, doubt = np.tile(levels.gain, 2), np.tile(np.sqrt(levels.gain_var), 2)
    scaled = room / np.where(room < 0.0, np.maximum(gain - doubt, _LEAST), gain + doubt)
    return np.where(np.isfinite(scaled), scaled, np.where(np.isnan(room) & (price > 0.0), 0.0, np.inf))


def said(sight: Sight, row: int) -> str:
    """A row for people: ``"voltage at bus 83 phase a, measured 1.0520 pu (limit 1.05)"``."""
    value, low, high = sight.value[row], sight.low[row], sight.high[row]
    limit = high if abs(high - value) <= abs(value - low) else low
    unit = UNIT_WORDS[int(sight.quantity[row])]
    digits = 4 if sight.quantity[row] == Quantity.VOLTAGE else 1
    return f"{sight.names[row]}, measured {value:.{digits}f} {unit} (limit {limit:g})"


def _doing(state: Feedback, standing: Standing, wanted: Powers) -> tuple[Kw, Kvar]:
    """What each does as far as known: what was known last stands until something else is."""
    found = []
    for known, before, asked in (
        (standing.p_kw, state.past.p_kw, wanted.p_kw),
        (standing.q_kvar, state.past.q_kvar, np.zeros(len(wanted.q_kvar))),
    ):
        last = before[-1] if len(before) else np.nan_to_num(asked)
        found.append(np.where(np.isfinite(known), known, last).astype(np.float64))
    return found[0], found[1]


def _by_itself(
    state: Feedback, doing_p: Kw, doing_q: Kvar, standing: Standing, able: Able
) -> tuple[Kw, Kvar]:
    """(n,) how much each resource has changed without an order, kW and kvar.

    Under an order that is what its bounds pushed or let rise; without one all of it, meters' errors too.
    """
    old, low, high = state.past.p_kw[-1], state.p_lo_kw, state.p_hi_kw
    pushed = np.clip(old, able.p_lo_kw, np.maximum(able.p_hi_kw, able.p_lo_kw)) - old
    rises = (old >= high) & (doing_p >= able.p_hi_kw) & (able.p_hi_kw > high)
    falls = (old <= low) & (doing_p <= able.p_lo_kw) & (able.p_lo_kw < low)
    grown: Kw = pushed + np.where(rises, able.p_hi_kw - high, 0.0) + np.where(falls, able.p_lo_kw - low, 0.0)
    if standing.by_order is None:
        return grown, np.zeros(len(grown))
    of_p, of_q = standing.by_order
    return np.where(of_p, grown, doing_p - old), np.where(of_q, 0.0, doing_q - state.past.q_kvar[-1])


def _read(
    state: Feedback, sight: Sight, past: Past, now_s: float, tuning: Tuning
) -> tuple[Levels, Common, Watch]:
    """Levels with the readings that are new and believed, and what they say of earlier orders."""
    levels = state.levels
    believed = np.isfinite(sight.value) & (now_s - sight.at_s <= tuning.stale_s) & (sight.at_s <= now_s)
    fresh = believed & (sight.at_s > levels.seen_s)
    by_orders = between(sight, past, levels.seen_s, np.where(fresh, sight.at_s, levels.seen_s))
    dt = now_s - state.now_s if np.isfinite(state.now_s) else 0.0
    whole = replace(levels, slope=levels.slope + state.common.slope)
    watch = answers(state.watch, sight, whole, by_orders, fresh, dt)
    return *weighed(levels, state.common, sight, by_orders, fresh, tuning.doubt), watch


def _ahead(
    levels: Levels, common: Common, sight: Sight, pending: Float, now_s: float, tuning: Tuning
) -> tuple[Float, Float]:
    """Where each quantity will be once the next orders could be followed, and the margin that takes."""
    lead = np.where(np.isfinite(levels.seen_s), now_s + tuning.reach_s - levels.seen_s, 0.0)
    lead = np.where(lead <= tuning.stale_s + tuning.reach_s, lead, np.nan)
    level = levels.value + levels.gain * pending + (levels.slope + common.slope) * lead
    var = levels.value_var + lead * (2.0 * levels.cross_var + lead * levels.slope_var + sight.drift**2)
    # What orders and jumps make unsure is left to the next readings: a margin for it would order even more.
    step = sight.drift**2
    watched = (np.sqrt(step**2 + 4.0 * step * sight.noise**2) - step) / 2.0
    var = np.minimum(np.maximum(var, 0.0), MORE * watched + step * lead) + _calm(sight)
    # Of thousands of first readings some are far off: until there are a few, only what is clear counts.
    young = levels.seen_s - levels.first_s < tuning.settle_s
    return level, np.where(young, -_CLEAR * sight.noise, tuning.sigmas * np.sqrt(var))


def _calm(sight: Sight) -> Float:
    """(m,) variance that shapes long watched add to each row."""
    wander, noise = usual(sight)
    found: Float = sight.effects.modes**2 @ (noise * np.sqrt(wander**2 + 2.0 * noise * wander / TURNS_S))
    return found


def _limits(
    state: Feedback, sight: Sight, levels: Levels, margin: Float, now_s: float, tuning: Tuning
) -> tuple[Float, Float, Float]:
    """Upper and lower end of each quantity's room with its ramp, and the ramps' next reference."""
    dt = now_s - state.now_s if np.isfinite(state.now_s) else 0.0
    step = np.where(np.isfinite(sight.ramp), sight.ramp, 0.0) * dt
    reference = np.where(np.isfinite(state.reference), state.reference, levels.value)
    reference = np.clip(levels.value, reference - step, reference + step)
    ramped = np.isfinite(sight.ramp)
    reach = np.where(ramped, sight.ramp, 0.0) * (tuning.reach_s + dt)
    top = np.where(ramped, reference + reach, np.inf)
    bottom = np.where(ramped, reference - reach, -np.inf)
    if sight.ahead is not None and sight.ahead_s is not None:
        # Down to what is expected at the ramp's pace: what stores cannot take is curtailed before the front.
        gap = np.where(ramped, sight.ramp, 0.0) * np.maximum(sight.ahead_s - now_s, 0.0)
        known = ramped & np.isfinite(sight.ahead)
        top, bottom = (
            np.where(known, np.minimum(top, np.maximum(sight.ahead + gap, bottom)), top),
            np.where(known, np.maximum(bottom, np.minimum(sight.ahead - gap, top)), bottom),
        )
    high, low = np.fmin(sight.high, top) - margin, np.fmax(sight.low, bottom) + margin
    crossed = high < low
    middle = np.where(crossed, np.where(crossed, high, 0.0) / 2.0 + np.where(crossed, low, 0.0) / 2.0, 0.0)
    return np.where(crossed, middle, high), np.where(crossed, middle, low), reference


def _kept(state: Feedback, now_s: float, tuning: Tuning) -> float:
    """Share of the last correction that stands unless limits move it."""
    if not np.isfinite(state.now_s):
        return 0.0
    return float(np.exp(-(now_s - state.now_s) / tuning.release_s))


def _within_discs(
    program: Program, price: Float, able: Able, free: Mask, doing_p: Kw, doing_q: Kvar, wanted: Powers
) -> Solved:
    """The program's answer with both powers of an inverter inside its rating: active power goes first."""
    n = len(doing_p)
    lo, hi = np.where(free, able.p_lo_kw, doing_p), np.where(free, able.p_hi_kw, doing_p)
    hi = np.maximum(lo, hi)
    active = np.clip(np.nan_to_num(wanted.p_kw), lo, hi)
    for _ in range(2):
        most = np.minimum(able.q_most_kvar, np.sqrt(np.maximum(able.s_kva**2 - active**2, 0.0)))
        reactive = free & (able.q_most_kvar > 0.0)
        low = np.concatenate([lo - doing_p, np.where(reactive, -most - doing_q, 0.0)])
        high = np.concatenate([hi - doing_p, np.where(reactive, most - doing_q, 0.0)])
        program = replace(program, low=low, high=high)
        found = solve(program, price)
        p_kw, q_kvar = doing_p + found.x[:n], doing_q + found.x[n:]
        price = found.price
        if (reactive & (np.hypot(p_kw, q_kvar) > able.s_kva * (1.0 + 1e-9))).any():
            active = np.where(np.abs(p_kw) > np.abs(active), p_kw, active)
        else:
            return found
    most = np.sqrt(np.maximum(able.s_kva**2 - p_kw**2, 0.0))
    x = found.x.copy()
    x[n:] = np.where(reactive, np.clip(q_kvar, -most, most) - doing_q, x[n:])
    return instead(program, found, x)


def _tried_out(found: Solved, program: Program, levels: Levels, pending: Float, sight: Sight) -> Solved:
    """Part of an answer that moves voltages further than sensitivities hold: the rest waits for readings.

    Orders that no reading has seen yet are counted in. A part goes on in any case: other limits wait as well.
    """
    newest = levels.seen_s >= np.median(levels.seen_s)
    rows = newest & np.isfinite(levels.seen_s) & (sight.quantity == Quantity.VOLTAGE)
    under_way = (levels.gain * pending)[rows]
    after = under_way + (levels.gain * found.growth)[rows]
    far = np.abs(after) > np.maximum(FAR_PU, np.abs(under_way))
    if not far.any():
        return found
    way, sign = np.abs(after - under_way)[far], np.sign(after[far])
    part = max(float(((FAR_PU - sign * under_way[far]) / way).min()), LEAST_PART)
    still = np.clip(np.zeros(len(found.x)), program.low, program.high)
    x = still + part * (found.x - still)
    return replace(found, x=x, growth=growth_of(program, x))


def _holders(found: Solved, sight: Sight, by_kw: Kw, by_kvar: Kvar) -> tuple[Rows, Rows]:
    """Resources whose targets were moved, and the row that did most of it."""
    column, ports, m = sight.effects.column, sight.effects.ports, sight.m
    priced = np.flatnonzero(found.price > 0.0)
    moved_p, moved_q = np.abs(by_kw) > _MOVED_KW, np.abs(by_kvar) > _MOVED_KW
    held = np.flatnonzero((moved_p | moved_q) & (column >= 0)).astype(np.int32)
    if not len(priced) or not len(held):
        return held, np.full(len(held), -1, dtype=np.int32)
    weight = found.price[priced] * np.where(priced < m, 1.0, -1.0)
    pull = sight.effects.matrix[:, priced % m] * weight
    at = column[held]
    of = np.where(moved_p[held, None], np.abs(pull[at]), 0.0) + np.where(
        moved_q[held, None], np.abs(pull[ports + at]), 0.0
    )
    return held, (priced % m)[np.argmax(of, axis=1)].astype(np.int32)
