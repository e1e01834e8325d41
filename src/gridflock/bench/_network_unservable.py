"""What of vehicles' needs no plan can serve, proven by an independent relaxation: a lower bound.

Behind a bus that hangs on one other bus, all power comes through the branches between the two, and these only
lose power. So what goes in is at most ``Σ v_high·i_most`` over their conductors at either end, in every plan
that keeps its limits, whatever the angles, the losses and the rest of the feeder. Of that the loads behind
take what they draw at least, and everything else behind helps as much as it can by its own bounds: sun in
full, batteries by their store, up and down in one step allowed. What then still lacks (a linear program)
lacks in every plan in which the other devices keep their bands. Buses beside each other lack together. No
proof is tried where more than ``MOST`` devices are behind, in loops, or where a limit is missing: 0 then.
"""

from __future__ import annotations

import numpy as np

from gridflock.bench._network_world import World
from gridflock.grid import Network
from gridflock.grid._network import Float
from gridflock.model import Flexibility
from gridflock.plan.direct._solve import Program, by_simplex
from gridflock.plan.network._verdict import I_COUNTS, V_COUNTS_PU, Limits
from gridflock.units import Kw, Kwh, Mask, Rows

MOST = 60
"""Devices behind a bus up to which the proof is tried."""
SURE_KWH = 1e-5
"""A bound is smaller by this than what the solver says."""
COUNTS = 1.0 + 1.1 * (I_COUNTS + V_COUNTS_PU / 0.9)
"""By so much plans may go beyond a limit uncounted."""
FULL = 1.0 - 1e-9


def unservable_kwh(of: World, limits: Limits) -> float:
    """Energy that vehicles lack in every plan that keeps the limits, kWh; a proven lower bound.

    Args:
        of: the feeder with taps as they stand in the plan, and its devices, every port one pair of nodes.
        limits: what is to be kept.
    """
    network = of.feeder.network
    topology = network.topology
    most_kw = through_kw(network, limits)
    draw_kw = np.zeros((len(network.buses), of.feeder.steps))
    loads = len(of.feeder.load_kva[0])
    np.add.at(draw_kw, network.load_bus[:loads], _least_draw_kw(of, limits).T)
    behind: list[list[int]] = [[] for _ in network.buses]
    for device, port in enumerate(of.place.tolist()):
        behind[network.load_bus[loads + port]].append(device)
    found = np.zeros(len(network.buses))
    vehicles = of.of("vehicle")
    for bus in topology.bus_order[::-1].tolist():
        rows = np.array(behind[bus], dtype=np.int32)
        if len(rows) <= MOST and vehicles[rows].any() and np.isfinite(most_kw[:, bus]).all():
            found[bus] = max(
                found[bus], lacking_kwh(of.flexibility, rows, vehicles, most_kw[:, bus] - draw_kw[bus])
            )
        up = int(topology.bus_parent[bus])
        if up >= 0:
            draw_kw[up] += draw_kw[bus]
            found[up] += found[bus]
            behind[up] += behind[bus]
    return float(found[topology.bus_parent < 0].sum())


def through_kw(network: Network, limits: Limits) -> Kw:
    """(T, buses) most active power that reaches a bus and all behind it; infinite where none is known."""
    topology, blocks = network.topology, network.branch_blocks
    node = blocks.node
    v_high = np.append(limits.v_high_pu * network.v_base, np.zeros((len(limits.v_high_pu), 1)), axis=1)[
        :, node
    ]
    with np.errstate(invalid="ignore"):
        kw = np.where(node >= 0, COUNTS * v_high * limits.most_a / 1000.0, 0.0)
    bus = np.where(node >= 0, network.node_bus[node], -1)
    most = np.full((len(kw), len(network.buses)), np.inf)
    ends = np.stack([network.branch_from, network.branch_to])
    down = np.where(topology.bus_parent[ends[1]] == ends[0], ends[1], -1)
    down = np.where(topology.bus_parent[ends[0]] == ends[1], ends[0], down)
    in_service = network.branch_closed & ~network.branch_out
    child, here = down[blocks.owner], in_service[blocks.owner]
    for at_child in (True, False):
        sums = np.zeros_like(most)
        end = here & (child >= 0) & ((bus == child) == at_child)
        np.add.at(sums.T, child[end], kw[:, end].T)
        most = np.minimum(most, sums)
    fed = np.isin(np.arange(len(network.buses)), child[here & (child >= 0)])
    most[:, ~fed] = np.inf
    apart = (bus >= 0) & (bus != ends[0][blocks.owner]) & (bus != ends[1][blocks.owner])
    if (apart & here).any():
        most[:] = np.inf
    for one, other in ends[:, in_service & (down < 0)].T.tolist():
        most[:, _loop(topology.bus_parent, one, other)] = np.inf
    return most


def _loop(parent: Rows, one: int, other: int) -> list[int]:
    """Buses below where the ways of two of them to the source meet."""
    ways = []
    for bus in (one, other):
        way = [bus]
        while parent[way[-1]] >= 0:
            way.append(int(parent[way[-1]]))
        ways.append(way)
    common = set(ways[0]) & set(ways[1])
    return [bus for way in ways for bus in way if bus not in common]


def _least_draw_kw(of: World, limits: Limits) -> Kw:
    """(T, L) what loads draw at least at any voltage inside the limits, kW.

    What a port to ground draws at constant power, where its law holds at the lowest voltage; nothing of the
    rest. What injects does so without end if its law is not that of constant power.
    """
    network, count = of.feeder.network, len(of.feeder.load_kva[0])
    node, shares = network.load_nodes[:count], network.load_zip[:count, 0]
    lowest = limits.v_low_pu[:, node[:, 0]] * network.v_base[node[:, 0]]
    holds = (node[:, 1] < 0) & (lowest >= network.load_range[:count, 1] * network.load_v[:count])
    holds &= network.topology.port_live[:count]
    holds &= np.isnan(network.load_exponent[:count, 0]) & (shares >= 0.0).all(axis=1)
    kw = -of.feeder.load_kva.real
    injects = np.where(shares[:, 0] >= 1.0, kw, -np.inf)
    return np.where(kw >= 0.0, np.where(holds, shares[:, 0] * kw, 0.0), injects)


def lacking_kwh(of: Flexibility, rows: Rows, vehicles: Mask, room_kw: Kw) -> float:
    """What vehicles lack at least where some devices together may draw no more than a room, kWh.

    Args:
        of: all devices.
        rows: those behind the element.
        vehicles: of all devices, those whose bands may be left.
        room_kw: (T,) most they may draw beyond what they give.
    """
    stores = (of.gain_up[rows] != 0.0) | (of.gain_down[rows] != 0.0)
    free, kept = rows[~stores], rows[stores]
    room = room_kw + (of.base_kw[free] + of.up_kw[free]).sum(axis=0) + of.base_kw[kept].sum(axis=0)
    if _fits(of, kept[vehicles[kept]], room_kw + of.base_kw[kept].sum(axis=0)):
        return 0.0
    found = by_simplex(_program(of, kept, vehicles[kept], room))
    return max(0.0, found.cost - SURE_KWH) if found.ok else 0.0


def _fits(of: Flexibility, rows: Rows, room_kw: Kw) -> bool:
    """Whether vehicles spread evenly over the room of their hours are served without help: most are."""
    plugged = of.down_kw[rows] > 0.0
    part = np.maximum(room_kw, 0.0) * plugged
    whole = part @ of.grid.hours
    need = of.x_lo_kwh[rows, -1] / np.where(of.gain_down[rows] > 0.0, of.gain_down[rows], np.inf)
    each = np.divide(need, whole, out=np.full_like(need, np.inf), where=whole > 0.0)[:, None] * part
    each = np.where(plugged, each, 0.0)
    return bool(
        (each <= FULL * of.down_kw[rows]).all()
        and (each.sum(axis=0) <= FULL * np.maximum(room_kw, 0.0)).all()
    )


def _program(of: Flexibility, rows: Rows, vehicles: Mask, room_kw: Kw) -> Program:
    """Least energy lacking; stores' powers, contents and, of vehicles, what their band is left by."""
    lp, hours = Program(), of.grid.hours
    zero: Float = np.zeros((len(rows), len(hours)))
    up, down = lp.columns(zero, 0.0, of.up_kw[rows]), lp.columns(zero, 0.0, of.down_kw[rows])
    content = lp.columns(zero, -np.inf, np.inf)
    lacking = lp.columns(np.ones(len(rows)), 0.0, np.where(vehicles, np.inf, 0.0))[:, None]
    course = lp.rows(zero, zero)
    lp.put(course, content, 1.0)
    lp.put(course[:, 1:], content[:, :-1], -1.0)
    lp.put(course, up, -of.gain_up[rows, None] * hours)
    lp.put(course, down, -of.gain_down[rows, None] * hours)
    for edges, sign in ((of.x_lo_kwh, 1.0), (of.x_hi_kwh, -1.0)):
        side: Kwh = sign * edges[rows, 1:]
        row = lp.rows(side, np.full_like(side, np.inf))
        lp.put(row, content, sign)
        lp.put(row, lacking, 1.0)
    drawn = lp.rows(np.full(len(hours), -np.inf), room_kw)
    lp.put(drawn, down, 1.0)
    lp.put(drawn, up, -1.0)
    return lp
