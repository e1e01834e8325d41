"""The feeder's own controls: line-drop compensated regulators and voltage-switched capacitors.

A regulator sees, on its 120 V base, ``v/pt - (R + jX)·i/ct`` (Kersting, *Distribution System
Modeling and Analysis*, ch. 7: R and X in volt at rated CT current) and steps one tap towards its
band after the delay. Power flowing backwards is compensated with the same settings.
"""

from __future__ import annotations

import numpy as np

from gridflock.grid._flow import Flow, solve
from gridflock.grid._network import CapacitorMode, Complex, Float, Network
from gridflock.grid._state import ControlState
from gridflock.units import NEVER_S, Mask

SETTLE_LIMIT = 200
"""Control rounds of one settling; seven regulators of 33 positions need far fewer."""


def seen_v(network: Network, flow: Flow) -> Float:
    """(K,) voltage each regulator control sees, line drop taken off, on its 120 V base."""
    reg = network.regulators
    into_feeder = np.where(reg.conductor >= 0, -flow.currents[reg.conductor], 0.0)
    drop = (reg.r_v + 1j * reg.x_v) * into_feeder / reg.ct_a
    v = np.append(flow.v, 0.0)
    seen: Float = np.abs((v[reg.node] - v[reg.node_to]) / reg.pt_ratio - drop)
    return seen


def _wanted(network: Network, flow: Flow, state: ControlState) -> tuple[np.ndarray, Mask]:
    """Tap moves (K,) in -1, 0, 1 and capacitors (M,) that want to switch."""
    reg, caps = network.regulators, network.capacitors
    error = seen_v(network, flow) - reg.v_set_v
    move = np.where(np.abs(error) > reg.band_v / 2.0, -np.sign(error), 0.0).astype(np.int8)
    move *= reg.direction
    move[(state.taps + move > reg.tap_high) | (state.taps + move < reg.tap_low)] = 0
    counts = np.maximum(np.diff(caps.seen_start), 1)
    total = np.concatenate([[0.0], np.cumsum(np.abs(flow.v[caps.seen_node]))])
    v_mean = (total[caps.seen_start[1:]] - total[caps.seen_start[:-1]]) / counts / caps.pt_ratio
    by_voltage = caps.mode == CapacitorMode.VOLTAGE
    switch = by_voltage & np.where(state.cap_on, v_mean > caps.off_at, v_mean < caps.on_at)
    return move, switch


def _delays(network: Network, state: ControlState) -> Float:
    """(K+M,) time each control waits before its next move, s."""
    caps = network.capacitors
    return np.concatenate(
        [network.regulators.delay_s, np.where(state.cap_on, caps.delay_off_s, caps.delay_s)]
    )


def act(network: Network, flow: Flow, state: ControlState, now_s: int) -> ControlState:
    """Let every control look once: start or clear its timer, and move where the delay is over.

    A control that has moved starts its timer anew, so that it takes one step per delay. From a flow
    that has not converged nobody learns anything: the state stays.

    Args:
        network: the feeder.
        flow: the operating point the controls see.
        state: positions and timers.
        now_s: unix seconds.
    """
    if not flow.converged:
        return state
    move, switch = _wanted(network, flow, state)
    wants = np.concatenate([move != 0, switch])
    since = np.where(wants, np.where(state.pending_since_s == NEVER_S, now_s, state.pending_since_s), NEVER_S)
    delay = _delays(network, state)
    due = wants & (now_s - since >= delay)
    since[due] = now_s
    k = len(move)
    taps = (state.taps + np.where(due[:k], move, 0)).astype(np.int8)
    return ControlState(taps, state.cap_on ^ due[k:], since)


def settle(
    network: Network, load_kva: Complex, inject_kva: Complex, state: ControlState
) -> tuple[Flow, ControlState]:
    """Solve and move the controls, the quickest first, until none wants to move.

    Returns:
        The flow and the positions it holds at; timers cleared. ``flow.converged`` is False where
        the controls hunt without end or the flow has no solution.
    """
    flow = solve(network, load_kva, inject_kva, state)
    for _ in range(SETTLE_LIMIT):
        move, switch = _wanted(network, flow, state)
        wants = np.concatenate([move != 0, switch])
        if not wants.any() or not flow.converged:
            break
        delay = _delays(network, state)
        first = wants & (delay == delay[wants].min())
        k = len(move)
        taps = (state.taps + np.where(first[:k], move, 0)).astype(np.int8)
        state = ControlState(taps, state.cap_on ^ first[k:], np.full_like(state.pending_since_s, NEVER_S))
        flow = solve(network, load_kva, inject_kva, state, flow)
    return flow, state
