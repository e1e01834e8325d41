"""How the paths of series reach a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gridflock.units import Kw, Rows

Complex = NDArray[np.complex128]


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where the power of S series flows in.

    Attributes:
        series: S ids, in the order of the paths.
        ports: complex (L, S) kVA at each load port for one kW of a series, house sign.
        nodes: (k,) nodes that carry injections besides the ports.
        injections: complex (k, S) kVA at each of them for one kW of a series.
    """

    series: tuple[str, ...]
    ports: csr_array
    nodes: Rows
    injections: csr_array

    def powers(self, paths_kw: Kw) -> tuple[Complex, Complex]:
        """Complex (N, L) and (N, k) kVA of N moments of the series, (N, S) kW."""
        kw = np.asarray(paths_kw, dtype=np.float64).T
        return np.ascontiguousarray((self.ports @ kw).T), np.ascontiguousarray((self.injections @ kw).T)
