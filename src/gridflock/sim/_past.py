"""The days before: the same fleet and habits, unmanaged and without wires, as quarter-hour means."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from gridflock.grid import Network
from gridflock.schema import Family
from gridflock.sim._fleet import HEADS, Fleet
from gridflock.sim._population import Population
from gridflock.sim._scenario import Scenario
from gridflock.units import NEVER_S, Kw

_COARSE_S = 300
"""Step of the devices in the past: shorter than any house or tank notices."""


def past(scenario: Scenario, network: Network, fleet: Fleet, days: int, step_s: int) -> dict[str, Any]:
    """Mean powers of the unmanaged days before the scenario's.

    A feeder head is the sum of its phase without losses: what meters alone can say of it.

    Args:
        scenario: of the world.
        network: the registered feeder.
        fleet: of the world.
        days: how many.
        step_s: length of a mean; a multiple of 300 s.

    Returns:
        ``t_s`` int64 (T,) start of each step; ``ids``; ``p_kw`` (ids, T) house sign;
        ``p_avail_kw`` (ids, T) what was on offer or would be done unasked; ``need_kw`` (ids, T):
        energy vehicles lack on plugging in, over the step's hours, negative; and the stays of vehicles
        that came on these days: ``stay_id`` place in ``ids``, ``stay_plugged_s``, ``stay_left_s`` (-1
        for who is there when the scenario's day begins), ``stay_kwh`` what each lacked when it came.

    Raises:
        ValueError: ``step_s`` is not a multiple of 300 s.
    """
    if step_s % _COARSE_S:
        raise ValueError(f"step_s {step_s}: expected a multiple of {_COARSE_S}")
    calendar = [scenario.day - timedelta(days=back) for back in range(days, 0, -1)]
    population = Population(scenario, network, fleet, calendar, _COARSE_S)
    per_step = step_s // _COARSE_S
    steps = len(population.demand_kw) // per_step
    p_kw = np.zeros((steps, len(fleet.ids)))
    offer_kw = np.zeros((steps, len(fleet.ids)))
    n, loads = fleet.n, slice(fleet.n, len(fleet.ids) - len(HEADS))
    unasked = np.full(n, np.nan)
    sites = network.spread(fleet.bus, fleet.phases)
    ports = network.spread(network.load_bus, network.load_phase)
    for fine in range(steps * per_step):
        k = fine // per_step
        population.step(population.start_s + fine * _COARSE_S, _COARSE_S, unasked)
        p_kw[k, :n] += population.p_kw
        offer_kw[k, :n] += population.own_kw
        p_kw[k, loads] -= population.demand_kw[fine]
    p_kw /= per_step
    offer_kw /= per_step
    offer_kw[:, loads] = p_kw[:, loads]
    nodes = p_kw[:, :n] @ sites.T + p_kw[:, loads] @ ports.T
    for phase in range(len(HEADS)):
        p_kw[:, n + loads.stop - loads.start + phase] = nodes[:, network.node_phase == phase].sum(axis=1)
    offer_kw[:, -len(HEADS) :] = p_kw[:, -len(HEADS) :]
    t_s = population.start_s + step_s * np.arange(steps, dtype=np.int64)
    return {
        "t_s": t_s,
        "ids": fleet.ids,
        "p_kw": p_kw.T.copy(),
        "p_avail_kw": offer_kw.T.copy(),
        "need_kw": _arriving_need(population, len(fleet.ids), t_s[0], step_s, steps),
        **_stays(population, population.start_s + steps * step_s),
    }


def _stays(population: Population, end_s: int) -> dict[str, Any]:
    """Stays of vehicles that began before an end, as they are known then."""
    sessions = population.vehicles.sessions
    rows = np.arange(population.fleet.n)[population.rows[Family.VEHICLE]]
    begun = (sessions.arrive_s >= population.start_s) & (sessions.arrive_s < end_s)
    begun &= sessions.depart_s > sessions.arrive_s
    left = np.where(sessions.depart_s <= end_s, sessions.depart_s, NEVER_S)
    return {
        "stay_id": np.broadcast_to(rows[:, None], begun.shape)[begun],
        "stay_plugged_s": sessions.arrive_s[begun],
        "stay_left_s": left[begun],
        "stay_kwh": (sessions.target_kwh - sessions.arrive_kwh)[begun],
    }


def _arriving_need(population: Population, ids: int, start_s: int, step_s: int, steps: int) -> Kw:
    """Energy vehicles lack when they plug in, as negative mean power of that step (ids, T)."""
    sessions = population.vehicles.sessions
    rows = np.arange(population.fleet.n)[population.rows[Family.VEHICLE]]
    need = np.zeros((ids, steps))
    k = (sessions.arrive_s - start_s) // step_s
    inside = (k >= 0) & (k < steps)
    row = np.broadcast_to(rows[:, None], k.shape)
    drawn = (sessions.target_kwh - sessions.arrive_kwh) / population.vehicles.plate["eff_charge"][:, None]
    np.add.at(need, (row[inside], k[inside]), -drawn[inside] * 3600 / step_s)
    return need
