"""Devices at ports: who stands where, and what of each is added up into which column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from gridflock.grid._network import Float
from gridflock.units import Rows

Q_SHARE = 0.44
"""Part of an inverter's rating that its reactive power may take (IEEE 1547-2018, category B)."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """C columns: the active power of every port, then the reactive power of ports with an inverter.

    Attributes:
        port: (m,) port of each device.
        s_kva: (m,) apparent-power rating of its inverter; 0 without.
        share: part of it that reactive power may take.
        sums: (k, m) adds devices up into ports.
        reactive: (d,) ports with a column of reactive power.
        agents: (C,) how many deciders share each column.
    """

    port: Rows
    s_kva: Float
    share: float
    sums: sparse.csr_matrix
    reactive: Rows
    agents: Float

    @property
    def ports(self) -> int:
        """How many device ports, k."""
        return int(self.sums.shape[0])

    @property
    def active(self) -> Rows:
        """(k,) all ports."""
        return np.arange(self.ports, dtype=np.int32)

    def capability(self, p_kw: Float) -> Float:
        """(m, T) largest reactive power of each device beside its active power (m, T), kvar."""
        s = self.s_kva[:, None]
        beside = np.sqrt(np.maximum(s * s - p_kw * p_kw, 0.0))
        most: Float = np.minimum(beside, self.share * s)
        return most

    def reactive_room(self, p_kw: Float) -> Float:
        """(d, T) the same per column."""
        room: Float = (self.sums @ self.capability(p_kw))[self.reactive]
        return room

    def by_device(self, p_kw: Float, q_kvar: Float) -> Float:
        """(m, T) reactive power of the columns (d, T), shared among a port's inverters by what they can."""
        can = self.capability(p_kw)
        whole = np.asarray(self.sums @ can)
        part = np.divide(self.spread_kvar(q_kvar), whole, out=np.zeros_like(whole), where=whole > 0.0)
        shared: Float = can * part[self.port]
        return shared

    def spread_kvar(self, q_kvar: Float) -> Float:
        """(k, T) reactive power of all ports from that of the columns (d, T)."""
        spread: Float = np.zeros((self.ports, q_kvar.shape[1]))
        spread[self.reactive] = q_kvar
        return spread


def columns(port: Rows, s_kva: Float, ports: int, share: float = Q_SHARE) -> Columns:
    """Columns of devices at ports."""
    m = len(port)
    sums = sparse.csr_matrix((np.ones(m), (port, np.arange(m))), shape=(ports, m))
    reactive = np.flatnonzero(np.bincount(port, s_kva * share, ports) > 0.0).astype(np.int32)
    agents = np.maximum(np.bincount(port, minlength=ports), 1).astype(np.float64)
    return Columns(port, s_kva, share, sums, reactive, np.append(agents, np.ones(len(reactive))))
