"""The state machine of regulators and capacitors over many steps, compiled.

It walks through time with what is known of every step: the sights of the control states that have
been solved there. Where the state it arrives at has not been solved, it goes on with a prediction
(the nearest known sight moved along the sensitivities) and leaves a question. When a walk leaves no
question, every move in it rests on a solved flow and the walk is that of the step-by-step engine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.grid._controls import delays
from gridflock.grid._network import CapacitorMode, Float, Network
from gridflock.units import DAY_S, NEVER_S, Rows

States = NDArray[np.int8]
"""(..., K+M) taps, then capacitors as 0 or 1."""
ROUGH, SOLVED, EXACT = 0, 1, 2
"""How well a sight is known: good for predicting, from float32 lanes, from float64."""
NEAR_SHARE = 3e-5
"""A decision nearer than this to its threshold, of the set value, is taken again in float64."""
NEAR_KVAR = 0.5
"""The same where reactive power decides."""


class Rules(NamedTuple):
    """What the controls decide by; K regulators, M capacitors.

    Attributes:
        regulator: (K, 8) set point, half band, volts per position on the control's base, most
            positions a move, direction, lowest and highest position, delay.
        capacitor: (M, 7) mode, on at, off at, low and high override, delay on and off.
        sensitivity: (G, K+2M, K+M) change of each sight with each position, at G levels of load: of
            voltages in parts of themselves, so that positions multiply, of flows in kvar or A.
        level: (T,) which of these holds at each step.
    """

    regulator: Float
    capacitor: Float
    sensitivity: Float
    level: Rows


class Known(NamedTuple):
    """Solved sights, chained by step.

    Attributes:
        first: (T,) newest entry of each step, -1 for none.
        next: (E,) the entry before it.
        state: (E, K+M) where it was solved.
        sight: (E, K+2M) regulated voltages, capacitors' voltages, capacitors' flows.
        quality: (E,) ``ROUGH``, ``SOLVED`` or ``EXACT``.
    """

    first: Rows
    next: Rows
    state: States
    sight: Float
    quality: NDArray[np.int8]


class Walk(NamedTuple):
    """What a walk writes.

    Attributes:
        end: (T, K+M) states at the end of each step.
        rounds: (T,) moves within each step.
        quiet: (T,) nobody wished more.
        asked_step: (Q,) questions.
        asked_state: (Q, K+M) where.
    """

    end: States
    rounds: Rows
    quiet: NDArray[np.bool_]
    asked_step: Rows
    asked_state: States


def rules(network: Network, sensitivity: Float, level: Rows) -> Rules:
    """The columns of a network's controls that decide."""
    reg, caps = network.regulators, network.capacitors
    per_position = reg.base_v * reg.step_pu / reg.pt_ratio
    both = delays(network, np.zeros(len(caps.ids), dtype=np.bool_))
    columns = [reg.v_set_v, reg.band_v / 2.0, per_position, reg.most_taps, reg.direction]
    columns += [reg.tap_low, reg.tap_high, both[: len(reg.ids)]]
    switches = [
        caps.mode,
        caps.on_at,
        caps.off_at,
        caps.v_low_v,
        caps.v_high_v,
        caps.delay_s,
        caps.delay_off_s,
    ]
    return Rules(
        np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1),
        np.stack([np.asarray(c, dtype=np.float64) for c in switches], axis=1),
        np.ascontiguousarray(sensitivity),
        level,
    )


_VOLTAGE, _TIME, _FIXED = int(CapacitorMode.VOLTAGE), int(CapacitorMode.TIME), int(CapacitorMode.FIXED)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _tap_wish(rule: Float, seen: float, tap: int) -> tuple[int, bool]:
    """Positions a regulator wishes to move, and whether that is a near thing."""
    if np.isnan(seen):
        return 0, False
    missing = rule[0] - seen
    margin = NEAR_SHARE * rule[0]
    near = abs(abs(missing) - rule[1]) < margin
    if abs(missing) <= rule[1]:
        return 0, near
    exact = abs(missing) / rule[2]
    near = near or abs(exact - np.floor(exact) - 0.5) * rule[2] < margin
    reckoned = np.rint(exact)
    if reckoned == 0.0:
        return 0, near
    size = min(max(np.floor(7.0 * reckoned / 10.0), 1.0), rule[3])
    target = min(max(tap + np.sign(missing) * size * rule[4], rule[5]), rule[6])
    return int(target) - tap, near


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _switch_wish(rule: Float, volt: float, flow: float, on: int, second: int) -> tuple[bool, bool]:
    """Whether a capacitor wishes to switch, and whether that is a near thing."""
    mode = int(rule[0])
    if mode == _FIXED:
        return False, False
    close, open_ = flow > rule[1], flow < rule[2]
    near = min(abs(flow - rule[1]), abs(flow - rule[2])) < NEAR_KVAR
    if mode == _VOLTAGE:
        close, open_ = volt < rule[1], volt > rule[2]
        near = min(abs(volt - rule[1]), abs(volt - rule[2])) < NEAR_SHARE * volt
        return (open_ if on else close), near
    if mode == _TIME:
        inside = (second - rule[1]) % DAY_S < (rule[2] - rule[1]) % DAY_S
        close, open_, near = inside and second != NEVER_S, not inside and second != NEVER_S, False
    low, high = volt < rule[3], volt > rule[4]
    near = near or abs(volt - rule[3]) < NEAR_SHARE * volt or abs(volt - rule[4]) < NEAR_SHARE * volt
    if on:
        return high or (open_ and not low), near
    return low or (close and not high), near


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _move(
    rule: Rules, sight: Float, state: States, second: int, wish: NDArray[np.int64]
) -> tuple[bool, bool]:
    """Carry the wishes of the shortest delay out in ``state``; whether any, and whether it was near."""
    k, m = len(rule.regulator), len(rule.capacitor)
    shortest, near = np.inf, False
    for c in range(k):
        wish[c], close = _tap_wish(rule.regulator[c], sight[c], state[c])
        near = near or close
        if wish[c] != 0:
            shortest = min(shortest, rule.regulator[c, 7])
    for c in range(m):
        on = int(state[k + c])
        switch, close = _switch_wish(rule.capacitor[c], sight[k + c], sight[k + m + c], on, second)
        near = near or close
        wish[k + c] = 1 - 2 * on if switch else 0
        if switch:
            shortest = min(shortest, rule.capacitor[c, 6 if on else 5])
    if shortest == np.inf:
        return False, near
    for c in range(k + m):
        delay = rule.regulator[c, 7] if c < k else rule.capacitor[c - k, 6 if state[c] != 0 else 5]
        if wish[c] != 0 and delay == shortest:
            state[c] += wish[c]
    return True, near


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _recall(rule: Rules, known: Known, step: int, state: States, sight: Float) -> tuple[bool, bool]:
    """Fill the sight of a step at a state: whether it is solved there, and in float64."""
    nearest, least = -1, 1 << 30
    entry = known.first[step]
    while entry >= 0:
        away = 0
        for c in range(len(state)):
            away += abs(int(state[c]) - int(known.state[entry, c]))
        if away < least:
            nearest, least = entry, away
        if away == 0:
            break
        entry = known.next[entry]
    if nearest < 0:
        sight[:] = np.nan
        return False, False
    sight[:] = known.sight[nearest]
    if least == 0 and known.quality[nearest] != ROUGH:
        return True, known.quality[nearest] == EXACT
    volts, sensitivity = len(sight) - len(rule.capacitor), rule.sensitivity[rule.level[step]]
    for s in range(len(sight)):
        change = 0.0
        for c in range(len(state)):
            change += sensitivity[s, c] * (int(state[c]) - int(known.state[nearest, c]))
        sight[s] = sight[s] * np.exp(change) if s < volts else sight[s] + change
    return False, False


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def holds(known: Known, step: Rows, state: States) -> NDArray[np.bool_]:
    """(Q,) whether steps are solved at states, better than roughly."""
    found = np.zeros(len(step), dtype=np.bool_)
    for q in range(len(step)):
        entry = known.first[step[q]]
        while entry >= 0 and not found[q]:
            same = known.quality[entry] != ROUGH
            for c in range(state.shape[1]):
                same = same and state[q, c] == known.state[entry, c]
            found[q] = same
            entry = known.next[entry]
    return found


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def walk(
    rule: Rules, known: Known, start: States, span: tuple[int, int], rounds: int, seconds: Rows, out: Walk
) -> tuple[int, int]:
    """Walk from ``start`` through the steps of ``span``.

    Returns:
        How many questions there are, and the first step with one (the end of the span if none).
    """
    state = start.copy()
    sight = np.empty(known.sight.shape[1])
    wish = np.zeros(len(start), dtype=np.int64)
    asked, first = 0, span[1]
    for step in range(span[0], span[1]):
        taken = 0
        while True:
            solved, exact = _recall(rule, known, step, state, sight)
            before = state.copy()
            any_, near = _move(rule, sight, state, seconds[step], wish)
            if (not solved or (near and not exact)) and asked < len(out.asked_step):
                out.asked_step[asked], out.asked_state[asked] = step, before
                asked += 1
                first = min(first, step)
            if not any_ or taken == rounds:
                state[:] = before
                out.quiet[step] = not any_
                break
            taken += 1
        out.end[step], out.rounds[step] = state, taken
    return asked, first
