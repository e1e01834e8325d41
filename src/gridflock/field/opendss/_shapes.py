"""Load shapes of a feeder file: what each port does over a day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.field.opendss._circuit import Circuit, Complex
from gridflock.grid.build import Parts
from gridflock.units import Rows

Float = NDArray[np.float64]
NONE = -1


@dataclass(frozen=True, slots=True)
class Origin:
    """The element behind a port.

    Attributes:
        element: ``class.name``.
        share_p: part of its active power that the port takes.
        share_q: part of its reactive power.
    """

    element: str
    share_p: float
    share_q: float


@dataclass(frozen=True, slots=True)
class Shape:
    """One load shape at a fixed interval.

    Attributes:
        name: lower case.
        step_s: time between its values, s.
        p: (N,) factor of the active power, or kW of demand where ``actual``.
        q: (N,) factor of the reactive power, or kvar of demand.
        actual: values are power, not factors.
    """

    name: str
    step_s: float
    p: Float
    q: Float
    actual: bool

    def at(self, t_s: Float) -> tuple[Float, Float]:
        """P and Q values at times since the shape's start, s.

        OpenDSS's rule: the k-th value (from one) holds around k intervals, to the nearest, a half to
        the even one; the shape repeats.
        """
        k = (np.rint(np.asarray(t_s) / self.step_s).astype(np.int64) - 1) % len(self.p)
        return self.p[k], self.q[k]


@dataclass(frozen=True, slots=True)
class Shapes:
    """The load shapes in use and who follows which.

    Attributes:
        shapes: those that ports follow.
        of_port: (L,) row in ``shapes`` of each port; -1 without.
        share: (L, 2) part of its element's P and of its Q that a port takes.
    """

    shapes: tuple[Shape, ...]
    of_port: Rows
    share: Float

    def kva(self, base_kva: Complex, t_s: Float) -> Complex:
        """Complex (T, L) power of all ports at rated voltage over time, house sign.

        Args:
            base_kva: complex (L,) power without a shape, house sign.
            t_s: (T,) time since the start of the day, s.
        """
        times = np.asarray(t_s, dtype=np.float64)
        kva = np.repeat(np.asarray(base_kva, dtype=np.complex128)[None, :], len(times), axis=0)
        for row, shape in enumerate(self.shapes):
            ports = np.flatnonzero(self.of_port == row)
            p, q = (values[:, None] for values in shape.at(times))
            if shape.actual:
                kva[:, ports] = -(p * self.share[ports, 0] + 1j * q * self.share[ports, 1])
            else:
                kva[:, ports] = kva[:, ports].real * p + 1j * kva[:, ports].imag * q
        return kva


def read_shapes(circuit: Circuit, parts: Parts, origins: list[Origin]) -> Shapes:
    """The shape each port follows: its daily one, else its yearly one.

    Loads of fixed status follow none. A PV system's shape is that of its irradiance: its power is
    taken as proportional. A shape given by its hours is told and not followed.

    Args:
        circuit: compiled.
        parts: takes the notes.
        origins: the element behind each port.
    """
    followed: dict[str, str] = {}
    for kind in ("load", "pvsystem", "generator", "storage"):
        for row in circuit.table(kind):
            shape = row["Daily"] or row["Yearly"]
            if shape and not str(row.get("Status", "")).lower().startswith("f"):
                followed[f"{kind}.{row['Name']}"] = str(shape).lower()
    shapes = _used(circuit, parts, set(followed.values()))
    rows = {s.name: k for k, s in enumerate(shapes)}
    of_port = [rows.get(followed.get(o.element, ""), NONE) for o in origins]
    share = np.array([(o.share_p, o.share_q) for o in origins], dtype=np.float64).reshape(-1, 2)
    return Shapes(tuple(shapes), np.array(of_port, dtype=np.int32), share)


def _used(circuit: Circuit, parts: Parts, names: set[str]) -> list[Shape]:
    api = circuit.api.LoadShapes
    shapes = []
    at = api.First
    while at:
        name = api.Name.lower()
        step = 3600.0 * api.HrInterval
        if name in names and step > 0.0:
            p = np.array(api.Pmult, dtype=np.float64)
            q = np.array(api.Qmult, dtype=np.float64)
            if len(q) != len(p):
                q = np.zeros_like(p) if api.UseActual else p
            shapes.append(Shape(name, step, p, q, bool(api.UseActual)))
        elif name in names:
            parts.notes.append(f"loadshape.{name} is given by its hours: not followed")
        at = api.Next
    return shapes
