"""The state machine of regulators and capacitors over many steps, compiled.

It walks through time with what is known of every step: the sights of the control states that have
been solved there. Where the state it arrives at has not been solved, it goes on with a prediction:
the nearest known sight moved along the sensitivities. Where the prediction could be wrong by enough to
change what the controls do, it leaves a question. A walk without questions over steps whose last
states are all solved is that of the step-by-step engine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.grid._controls import capacitor_modes, delays, most_taps
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
DOUBT = (0.06, 0.4)
"""How much of the change it predicts a sensitivity may be wrong by, to a tap and to a capacitor, whose step
is large; flows follow a tap as loosely as that. What is seen stays below."""
DOUBT_ACTING = (0.4, 1.0)
"""The same where inverters act: a tap moves some of them past a bend of their curves."""


class Rules(NamedTuple):
    """What the controls decide by; K regulators, M capacitors.

    Attributes:
        regulator: (K, 8) set point, half band, volts per position on the control's base, most
            positions a move, direction, lowest and highest position, delay.
        capacitor: (M, 7) mode, on at, off at, low and high override, delay on and off.
        sensitivity: (G, K+2M, K+M) change of each sight with each position, at G levels of load: of
            voltages in parts of themselves, so that positions multiply, of flows in kvar or A.
        level: (T,) which of these holds at each step.
        doubt: how much of the change it predicts a sensitivity to a tap and to a capacitor may be wrong by.
    """

    regulator: Float
    capacitor: Float
    sensitivity: Float
    level: Rows
    doubt: tuple[float, float]


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


def rules(network: Network, sensitivity: Float, level: Rows, doubt: tuple[float, float] = DOUBT) -> Rules:
    """The columns of a network's controls that decide."""
    reg, caps = network.regulators, network.capacitors
    per_position = reg.base_v * reg.step_pu / reg.pt_ratio
    both = delays(network, np.zeros(len(caps.ids), dtype=np.bool_))
    columns = [reg.v_set_v, reg.band_v / 2.0, per_position, most_taps(network), reg.direction]
    columns += [reg.tap_low, reg.tap_high, both[: len(reg.ids)]]
    switches = [
        capacitor_modes(network),
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
        doubt,
    )


_VOLTAGE, _TIME, _FIXED = int(CapacitorMode.VOLTAGE), int(CapacitorMode.TIME), int(CapacitorMode.FIXED)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _tap_move(rule: Float, missing: float, tap: int) -> int:
    """Positions a regulator wishes to move for a missing voltage."""
    if not abs(missing) > rule[1]:
        return 0
    reckoned = np.rint(abs(missing) / rule[2])
    if reckoned == 0.0:
        return 0
    size = min(max(np.floor(7.0 * reckoned / 10.0), 1.0), rule[3])
    target = min(max(tap + np.sign(missing) * size * rule[4], rule[5]), rule[6])
    return int(target) - tap


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _tap_wish(rule: Float, seen: float, doubt: float, tap: int) -> tuple[int, bool]:
    """Positions a regulator wishes to move, and whether another voltage within doubt would wish others."""
    if np.isnan(seen):
        return 0, False
    missing = rule[0] - seen
    margin = NEAR_SHARE * rule[0] + doubt
    move = _tap_move(rule, missing, tap)
    # The wish only grows with the missing voltage: where both ends agree, all between do.
    near = _tap_move(rule, missing - margin, tap) != move or _tap_move(rule, missing + margin, tap) != move
    return move, near


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _switch(rule: Float, volt: float, flow: float, on: int, second: int) -> bool:
    """Whether a capacitor wishes to switch."""
    mode = int(rule[0])
    if mode == _FIXED:
        return False
    if mode == _VOLTAGE:
        return bool(volt > rule[2] if on else volt < rule[1])
    close, open_ = flow > rule[1], flow < rule[2]
    if mode == _TIME:
        inside = (second - rule[1]) % DAY_S < (rule[2] - rule[1]) % DAY_S
        close, open_ = inside and second != NEVER_S, not inside and second != NEVER_S
    low, high = volt < rule[3], volt > rule[4]
    return bool((high or (open_ and not low)) if on else (low or (close and not high)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _switch_wish(
    rule: Float, seen: tuple[float, float], doubt: tuple[float, float], on: int, second: int
) -> tuple[bool, bool]:
    """Whether a capacitor wishes to switch at a voltage and a flow, and whether doubt leaves it open."""
    volt, flow = seen
    wish, near = _switch(rule, volt, flow, on, second), False
    by_volt, by_flow = NEAR_SHARE * volt + doubt[0], NEAR_KVAR + doubt[1]
    for k in range(4):
        v, f = volt + (by_volt if k % 2 else -by_volt), flow + (by_flow if k // 2 else -by_flow)
        near = near or _switch(rule, v, f, on, second) != wish
    return wish, near


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _move(
    rule: Rules, seen: tuple[Float, Float], state: States, second: int, wish: NDArray[np.int64]
) -> tuple[bool, bool]:
    """Carry the wishes of the shortest delay out in ``state``; whether any, and whether it was near.

    ``seen`` are the sights and by how much each may be wrong. What is open with a longer delay than
    that of a wish beyond doubt changes nothing.
    """
    sight, doubt = seen
    k, m = len(rule.regulator), len(rule.capacitor)
    shortest, certain, open_ = np.inf, np.inf, np.inf
    for c in range(k + m):
        if c < k:
            wish[c], near = _tap_wish(rule.regulator[c], sight[c], doubt[c], state[c])
            delay = rule.regulator[c, 7]
        else:
            on = int(state[c])
            switch, near = _switch_wish(
                rule.capacitor[c - k], (sight[c], sight[m + c]), (doubt[c], doubt[m + c]), on, second
            )
            wish[c] = 1 - 2 * on if switch else 0
            delay = rule.capacitor[c - k, 6 if on else 5]
        if wish[c] != 0:
            shortest = min(shortest, delay)
            certain = certain if near else min(certain, delay)
        open_ = min(open_, delay) if near else open_
    if shortest == np.inf:
        return False, open_ < np.inf
    for c in range(k + m):
        delay = rule.regulator[c, 7] if c < k else rule.capacitor[c - k, 6 if state[c] != 0 else 5]
        if wish[c] != 0 and delay == shortest:
            state[c] += wish[c]
    return True, open_ <= certain and open_ < np.inf


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _recall(
    rule: Rules, known: Known, step: int, state: States, seen: tuple[Float, Float]
) -> tuple[bool, bool]:
    """Fill the sight of a step at a state and its doubt: whether it is solved there, and in float64."""
    sight, doubt = seen
    nearest, least = _nearest(known, step, state)
    doubt[:] = np.inf
    if nearest < 0:
        sight[:] = np.nan
        return False, False
    sight[:] = known.sight[nearest]
    if least == 0 and known.quality[nearest] != ROUGH:
        doubt[:] = 0.0
        return True, known.quality[nearest] == EXACT
    volts, sensitivity = len(sight) - len(rule.capacitor), rule.sensitivity[rule.level[step]]
    sure = known.quality[nearest] != ROUGH
    if sure:
        doubt[:] = 0.0
    for c in range(len(state)):
        moved = int(state[c]) - int(known.state[nearest, c])
        if moved == 0:
            continue
        for s in range(len(sight)):
            change = sensitivity[s, c] * moved
            share = rule.doubt[0 if c < len(rule.regulator) and s < volts else 1]
            if sure:
                doubt[s] += abs(change) * share * (sight[s] if s < volts else 1.0)
            sight[s] = sight[s] * (1.0 + change + 0.5 * change * change) if s < volts else sight[s] + change
    return False, False


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def predicted(rule: Rules, known: Known, step: Rows, state: States) -> Float:
    """(Q, K+2M) sights of steps at states, from the nearest that is known of each."""
    sights = np.empty((len(step), known.sight.shape[1]))
    doubt = np.empty(known.sight.shape[1])
    for q in range(len(step)):
        _recall(rule, known, step[q], state[q], (sights[q], doubt))
    return sights


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _nearest(known: Known, step: int, state: States) -> tuple[int, int]:
    """The entry of a step to predict from, and how far it is; rough ones where there is no other."""
    nearest, least = -1, 1 << 30
    entry = known.first[step]
    while entry >= 0:
        away = 0 if known.quality[entry] != ROUGH else 1 << 20
        for c in range(len(state)):
            away += abs(int(state[c]) - int(known.state[entry, c]))
        if away < least:
            nearest, least = entry, away
        if away == 0:
            break
        entry = known.next[entry]
    return nearest, least


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
    seen = np.empty(known.sight.shape[1]), np.empty(known.sight.shape[1])
    wish = np.zeros(len(start), dtype=np.int64)
    asked, first = 0, span[1]
    for step in range(span[0], span[1]):
        taken = 0
        while True:
            solved, exact = _recall(rule, known, step, state, seen)
            before = state.copy()
            any_, near = _move(rule, seen, state, seconds[step], wish)
            if near and not (solved and exact) and asked < len(out.asked_step):
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
