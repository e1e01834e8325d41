"""The plan on the feeder: where its devices stand, what the loads will be, what AC says of every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from gridflock.fleet import Image, reactive_room
from gridflock.grid import ControlState, Flow
from gridflock.plan import Members
from gridflock.plan.network import Devices, Feeder, Held, Round, feeder, hold
from gridflock.runtime._system import System
from gridflock.units import Kw, Money, Rows

_SLIGHT_KW = 1.0
"""Demand below which its shape says nothing of the loads."""


@dataclass(frozen=True, slots=True, eq=False)
class Stands:
    """Where m members stand.

    Attributes:
        port: (m,) device port: one for each bus and set of phases, one for each group of the expected.
        pairs: (j, 2) nodes and ground.
        spread: (j, k) share of a port's power at each of them.
        rows: (m,) fleet rows, -1 for the expected.
    """

    port: Rows
    pairs: Rows
    spread: sparse.csr_matrix
    rows: Rows

    @classmethod
    def of(cls, system: System, members: Members, rows: Rows) -> Stands:
        """Resolve buses and phases; the expected stand where the members of their group do."""
        places, columns = system.places, system.fleet.columns
        at = np.full(len(system.fleet.ids), -1, dtype=np.int64)
        at[places.der_rows] = np.arange(len(places.der_rows))
        known = rows >= 0
        keys = np.stack([columns["bus"][rows[known]], columns["phases"][rows[known]]], axis=1)
        _, first, port = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        by_device = places.spread.tocsc()
        where = [by_device[:, at[rows[known][first]]]]
        ports = np.empty(len(rows), dtype=np.int32)
        ports[known] = port.ravel()
        for n, k in enumerate(np.flatnonzero(~known).tolist()):
            ports[k] = len(first) + n
            mates = rows[known & (members.group == members.group[k])]
            size = np.abs(columns["p_min_kw"][mates]).astype(np.float64) + 1e-9
            where.append(sparse.csc_matrix(by_device[:, at[mates]] @ (size / size.sum())[:, None]))
        spread = sparse.csr_matrix(sparse.hstack(where))
        nodes = np.flatnonzero(np.diff(spread.indptr)).astype(np.int32)
        pairs = np.stack([nodes, np.full(len(nodes), -1, dtype=np.int32)], axis=1)
        return cls(ports, pairs, sparse.csr_matrix(spread[nodes]), rows)


def on_feeder(
    system: System,
    image: Image,
    flow: Flow,
    state: ControlState,
    members: Members,
    rows: Rows,
    fixed_kw: Kw,
    p_kw: Kw,
    price: Money,
    watch: Callable[[Round], None],
) -> Held:
    """Hold a plan of members to the feeder's limits, step by step in AC.

    Regulators and capacitors are taken to stay where they are; loads keep their present proportions and
    follow the expected sum.

    Args:
        system: network, fleet and groups.
        image: the process image.
        flow: the feeder as estimated now.
        state: its regulators and capacitors.
        members: who is planned.
        rows: (m,) their fleet rows, -1 for the expected.
        fixed_kw: (T,) expected injection of everything that takes no orders.
        p_kw: (m, T) the plan.
        price: (T,) worth of a kWh at the head.
        watch: told of every round of the repair.
    """
    stands = Stands.of(system, members, rows)
    day = _day(system, image, flow, state, stands, fixed_kw)
    room = np.zeros(len(rows))
    known = rows >= 0
    s_kva = np.where(reactive_room(image) > 0.0, image.columns["s_max_kva"], 0.0)
    room[known] = s_kva[rows[known]]
    devices = Devices(members.flexibility, stands.port, np.nan_to_num(room))
    return hold(day, devices, p_kw, price, watch=watch)


def _day(
    system: System, image: Image, flow: Flow, state: ControlState, stands: Stands, fixed_kw: Kw
) -> Feeder:
    """The feeder with the loads of every step."""
    network = system.network
    heard = system.places.load_kva(image)
    now = np.where(np.isnan(heard), network.load_kva, heard)
    injected = system.places.inject_kva(image).sum().real
    outside = float(flow.head_kva.real.sum()) - injected
    # Losses and what has no meter are in what is expected, as they are in what is seen now.
    scale = fixed_kw / outside if abs(outside) > _SLIGHT_KW else np.ones_like(fixed_kw)
    load_kva = np.asarray(np.clip(scale, 0.0, None)[:, None] * now, dtype=np.complex128)
    return feeder(network, state, load_kva, stands.pairs, stands.spread)
