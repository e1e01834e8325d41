"""The feeder's own controls: line-drop compensated regulators and switched capacitors.

A regulator sees, on its own base, ``v/pt - (R + jX)·i/ct`` (Kersting, *Distribution System Modeling
and Analysis*, ch. 7: R and X in volt at rated CT current). Power flowing backwards is compensated
with the same settings. A capacitor looks at voltage, reactive power, current or the clock; a voltage
override comes before all of these.

Two models of time. ``act`` is for a world that ticks: every control has a timer and moves one step
when its delay is over. ``settle`` has no time: solve, let all controls look, carry out the wishes of
the shortest delay together (a regulator then moves several taps at once), solve again, until nobody
wishes anything. This is the static control mode of OpenDSS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._flow import Flow, solve
from gridflock.grid._network import CapacitorMode, Capacitors, Complex, Float, Network, Regulators
from gridflock.grid._state import ControlState
from gridflock.units import DAY_S, NEVER_S, Codes, Mask, Rows

SETTLE_ROUNDS = 100
"""Control rounds of one settling; feeders that do not hunt need fewer than twenty."""


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What the controls of a network see.

    Attributes:
        regulated_v: (..., K) voltage of each regulator control on its base, line drop taken off.
        capacitor_v: (..., M) mean voltage each capacitor control sees, on its base; 0 where it sees none.
        capacitor_flow: (..., M) kvar into its element, or A on its base where current is measured.
    """

    regulated_v: Float
    capacitor_v: Float
    capacitor_flow: Float


def look(network: Network, flow: Flow) -> Sight:
    """What every control sees at an operating point."""
    at = network.branch_blocks.node
    return sight(network.regulators, network.capacitors, at, flow.v, flow.currents)


def sight(reg: Regulators, caps: Capacitors, at: Rows, v: Complex, currents: Complex) -> Sight:
    """What controls see of voltages and currents.

    Args:
        reg: regulators.
        caps: capacitors.
        at: (c,) node of each conductor.
        v: complex (..., n) V.
        currents: complex (..., c) into the branches at their conductors, A.
    """
    grounded = np.concatenate([v, np.zeros((*v.shape[:-1], 1), dtype=np.complex128)], axis=-1)
    across = grounded[..., reg.node] - grounded[..., reg.node_to]
    along = np.flatnonzero(reg.conductor >= 0)
    drop = np.zeros_like(across)
    drop[..., along] = -((reg.r_v + 1j * reg.x_v) / reg.ct_a)[along] * currents[..., reg.conductor[along]]
    seen = _sums(np.abs(v[..., caps.seen_node]), caps.seen_start) / _counts(caps.seen_start)
    amps = currents[..., caps.flow_conductor]
    into = grounded[..., at[caps.flow_conductor]] * np.conj(amps)
    kvar = _sums(into.imag / 1000.0, caps.flow_start)
    mean_a = _sums(np.abs(amps), caps.flow_start) / _counts(caps.flow_start)
    by_current = caps.mode == CapacitorMode.CURRENT
    flow = np.where(by_current, mean_a / caps.ct_ratio, kvar)
    return Sight(np.abs(across / reg.pt_ratio - drop), seen / caps.pt_ratio, flow)


def _counts(start: Rows) -> Rows:
    return np.maximum(np.diff(start), 1).astype(np.int32)


def _sums(values: Float, start: Rows) -> Float:
    """Sum of each stretch of the last axis; 0 for an empty one."""
    total = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    np.cumsum(values, axis=-1, out=total[..., 1:])
    sums: Float = total[..., start[1:]] - total[..., start[:-1]]
    return sums


def most_taps(network: Network) -> NDArray[np.int8]:
    """(K,) positions each regulator may move at once; 0 where it is locked or nothing feeds what it sees."""
    reg, topology = network.regulators, network.topology
    rests = reg.locked | ~topology.live[reg.node] | ~topology.branch_live[reg.branch]
    return np.where(rests, 0, reg.most_taps).astype(np.int8)


def capacitor_modes(network: Network) -> Codes:
    """(M,) ``CapacitorMode``; fixed where the bank is out of service, dead, or looks at a dead node."""
    caps, blocks, live = network.capacitors, network.shunt_blocks, network.topology.live
    dead = np.zeros(len(network.shunts), dtype=np.bool_)
    dead[blocks.owner[(blocks.node >= 0) & ~live[blocks.node]]] = True
    rests = dead[caps.shunt] | network.shunt_out[caps.shunt]
    looks = np.repeat(np.arange(len(caps.ids)), np.diff(caps.seen_start))
    rests[looks[~live[caps.seen_node]]] = True
    return np.where(rests, CapacitorMode.FIXED, caps.mode).astype(np.uint8)


def wished_taps(network: Network, seen: Sight, taps: NDArray[np.int8]) -> NDArray[np.int32]:
    """Positions each regulator wishes to go, (..., K); 0 in its band, at the end of its range and at rest.

    The missing voltage over the voltage of a position, rounded to whole positions; of these seven
    tenths, so that regulators in a row do not overshoot together, at least one and at most
    ``most_taps``, cut at the end of the range. OpenDSS moves by the same rule.
    """
    reg = network.regulators
    missing = reg.v_set_v - seen.regulated_v
    outside = np.abs(missing) > reg.band_v / 2.0
    reckoned = np.rint(np.abs(missing) * reg.pt_ratio / (reg.base_v * reg.step_pu))
    size = np.minimum(np.where(reckoned > 0, np.maximum(7 * reckoned // 10, 1), 0), most_taps(network))
    move = np.where(outside, np.sign(missing) * size * reg.direction, 0.0)
    target = np.clip(taps + move, reg.tap_low, reg.tap_high)
    return (target - taps).astype(np.int32)


def wished_switches(network: Network, seen: Sight, cap_on: Mask, second_s: float = NEVER_S) -> Mask:
    """(..., M) capacitors that wish to switch.

    Args:
        network: the feeder.
        seen: what they see.
        cap_on: (..., M) where they stand.
        second_s: second of the local day; where it is absent, clock controls stay as they are.
    """
    caps = network.capacitors
    on, off = _by_mode(caps, seen, second_s)
    low, high = seen.capacitor_v < caps.v_low_v, seen.capacitor_v > caps.v_high_v
    overridden = caps.mode != CapacitorMode.VOLTAGE
    low, high = low & overridden, high & overridden
    wishes: Mask = np.where(cap_on, high | (off & ~low), low | (on & ~high))
    wishes[..., capacitor_modes(network) == CapacitorMode.FIXED] = False
    return wishes


def _by_mode(caps: Capacitors, seen: Sight, second_s: float) -> tuple[Mask, Mask]:
    """Whether what each control measures calls for closing, and for opening."""
    by_voltage = caps.mode == CapacitorMode.VOLTAGE
    by_time = caps.mode == CapacitorMode.TIME
    on = np.where(by_voltage, seen.capacitor_v < caps.on_at, seen.capacitor_flow > caps.on_at)
    off = np.where(by_voltage, seen.capacitor_v > caps.off_at, seen.capacitor_flow < caps.off_at)
    if not by_time.any():
        return on, off
    known = second_s != NEVER_S
    inside = np.mod(second_s - caps.on_at, DAY_S) < np.mod(caps.off_at - caps.on_at, DAY_S)
    return np.where(by_time, inside & known, on), np.where(by_time, ~inside & known, off)


def delays(network: Network, cap_on: Mask) -> Float:
    """(..., K+M) time each control waits before its next move, s."""
    reg, caps = network.regulators, network.capacitors
    switching = np.where(cap_on, caps.delay_off_s, caps.delay_s)
    waiting = np.broadcast_to(reg.delay_s, (*cap_on.shape[:-1], len(reg.delay_s)))
    return np.concatenate([waiting, switching], axis=-1)


def act(
    network: Network, flow: Flow, state: ControlState, now_s: int, second_s: float = NEVER_S
) -> ControlState:
    """Let every control look once: start or clear its timer, and move where the delay is over.

    A control that has moved starts its timer anew, so that it takes one step per delay. From a flow
    that has not converged nobody learns anything: the state stays.

    Args:
        network: the feeder.
        flow: the operating point the controls see.
        state: positions and timers.
        now_s: unix seconds.
        second_s: second of the local day, for controls by the clock.
    """
    if not flow.converged:
        return state
    seen = look(network, flow)
    move = np.sign(wished_taps(network, seen, state.taps))
    wants = np.concatenate([move != 0, wished_switches(network, seen, state.cap_on, second_s)])
    since = np.where(wants, np.where(state.pending_since_s == NEVER_S, now_s, state.pending_since_s), NEVER_S)
    due = wants & (now_s - since >= delays(network, state.cap_on))
    since[due] = now_s
    k = len(move)
    taps = (state.taps + np.where(due[:k], move, 0)).astype(np.int8)
    return ControlState(taps, state.cap_on ^ due[k:], since)


def moved(
    network: Network, seen: Sight, state: ControlState, second_s: float = NEVER_S
) -> ControlState | None:
    """Positions after the wishes of the shortest delay are carried out; None if nobody wishes anything."""
    move = wished_taps(network, seen, state.taps)
    switch = wished_switches(network, seen, state.cap_on, second_s)
    wants = np.concatenate([move != 0, switch])
    if not wants.any():
        return None
    delay = delays(network, state.cap_on)
    first = wants & (delay == delay[wants].min())
    k = len(move)
    taps = (state.taps + np.where(first[:k], move, 0)).astype(np.int8)
    return ControlState(taps, state.cap_on ^ first[k:], np.full_like(state.pending_since_s, NEVER_S))


def settle(
    network: Network,
    load_kva: Complex,
    inject_kva: Complex,
    state: ControlState,
    start: Flow | None = None,
    *,
    rounds: int = SETTLE_ROUNDS,
    second_s: float = NEVER_S,
) -> tuple[Flow, ControlState]:
    """Solve and move the controls, those of the shortest delay first, until none wishes to move.

    Args:
        network: the feeder.
        load_kva: complex (L,) nominal power of each load, house sign.
        inject_kva: complex (n,) constant-power injections.
        state: positions to begin at.
        start: an earlier flow to begin the first solution from.
        rounds: how often controls may move.
        second_s: second of the local day, for controls by the clock.

    Returns:
        The flow and the positions it holds at; timers cleared. ``flow.converged`` is False where
        the controls still hunt after all rounds or the flow has no solution.
    """
    at_rest = settled(
        network,
        lambda held, before: solve(network, load_kva, inject_kva, held, before),
        state,
        start,
        rounds,
        second_s,
    )
    flow = at_rest.flow
    return (flow if at_rest.quiet else replace(flow, converged=False)), at_rest.state


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """Where static control rounds end.

    Attributes:
        flow: the last solution.
        state: the positions it was solved at.
        rounds: how often controls moved.
        quiet: no control wishes to move any more, and the flow converged.
    """

    flow: Flow
    state: ControlState
    rounds: int
    quiet: bool


def settled(
    network: Network,
    solver: Callable[[ControlState, Flow | None], Flow],
    state: ControlState,
    start: Flow | None,
    rounds: int,
    second_s: float = NEVER_S,
) -> Settled:
    """Static control rounds around any solver of one control state, begun at an earlier flow."""
    flow, taken = solver(state, start), 0
    while flow.converged:
        after = moved(network, look(network, flow), state, second_s)
        if after is None or taken == rounds:
            return Settled(flow, state, taken, after is None)
        state, taken = after, taken + 1
        flow = solver(state, flow)
    return Settled(flow, state, taken, quiet=False)
