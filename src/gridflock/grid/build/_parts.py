"""Parts: one checked element each, what every reader makes and ``assemble`` turns into arrays.

A bus is named by its row in ``Parts.buses``; its conductors are 1, 2, 3 for the phases a, b, c (or
the legs of a split-phase bus), 4 and up for neutrals, and 0 for ground. Matrices are over the
conductors of all ends in the written order, in siemens, the ground conductors included.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._network import CapacitorMode, PortKind
from gridflock.grid.build._document import Faults

Complex = NDArray[np.complex128]
Float = NDArray[np.float64]
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class End:
    """Where one terminal of an element is connected.

    Attributes:
        bus: bus row.
        conductors: conductor numbers at that bus, 0 for ground.
    """

    bus: int
    conductors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bus:
    """One bus.

    Attributes:
        id: name.
        v: nominal line-to-neutral voltage, V; NaN where the file does not say (found from the idle voltages).
        xy: plan coordinates, any unit; NaN where unknown.
    """

    id: str
    v: float
    xy: tuple[float, float] = (NAN, NAN)


@dataclass(frozen=True, slots=True)
class Branch:
    """A linear element with two or more ends.

    Attributes:
        id: name.
        kind: ``line``, ``switch``, ``transformer``, ``regulator`` or ``reactor``.
        ends: its terminals, source side first as written.
        y: complex (k, k) primitive admittance with taps at their written position (regulated
            windings at neutral).
        rating_a: ampere per phase at the first end; NaN where unknown.
        closed: False for an open switch.
        where: ``file:line`` it was read from.
        out: taken out of service.
    """

    id: str
    kind: str
    ends: tuple[End, ...]
    y: Complex
    rating_a: float = NAN
    closed: bool = True
    where: str = ""
    out: bool = False


@dataclass(frozen=True, slots=True)
class Shunt:
    """A linear element with one end: capacitor bank, reactor to ground.

    Attributes:
        id: name.
        kind: ``capacitor``, ``reactor``, or ``stray``: what only keeps a winding without a path to
            ground solvable, and counts as none.
        end: its terminal; a delta or a bank between two conductors lists them all.
        y: complex (k, k) primitive admittance, everything switched in.
        where: ``file:line``.
        out: taken out of service.
    """

    id: str
    kind: str
    end: End
    y: Complex
    where: str = ""
    out: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A voltage behind an impedance.

    Attributes:
        id: name.
        end: its terminal.
        v: complex (k,) voltages behind the impedance, V.
        y: complex (k, k) admittance of the impedance, S.
        where: ``file:line``.
        out: taken out of service.
    """

    id: str
    end: End
    v: Complex
    y: Complex
    where: str = ""
    out: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """A load, or a generator written in the feeder file, between two conductors of a bus.

    Attributes:
        id: name.
        bus: bus row.
        conductors: (i, j); j = 0 is ground.
        kva: complex power at rated voltage, house sign: demand negative.
        rated_v: voltage across the port at which it takes ``kva``, V.
        zip_p: shares of constant power, current, impedance of the active power.
        zip_q: the same of the reactive power.
        exponent: exponents of the voltage for active and reactive power; NaN where ``zip`` speaks.
        limits: pu voltages (floor, low, high): the law holds between low and high.
        edge: current in parts of |kva|/rated_v at low and high, from where the law is continued
            (above: as an impedance; below: linearly to the nominal impedance at the floor). None:
            the law's own value for constant power, ``1/low`` and ``1/high``.
        kind: what it is.
        scaled: whether it follows the feeder's load multiplier.
        where: ``file:line``.
    """

    id: str
    bus: int
    conductors: tuple[int, int]
    kva: complex
    rated_v: float
    zip_p: tuple[float, float, float] = (1.0, 0.0, 0.0)
    zip_q: tuple[float, float, float] = (1.0, 0.0, 0.0)
    exponent: tuple[float, float] = (NAN, NAN)
    limits: tuple[float, float, float] = (0.5, 0.95, 1.05)
    edge: tuple[float, float] | None = None
    kind: PortKind = PortKind.LOAD
    scaled: bool = True
    where: str = ""


@dataclass(frozen=True, slots=True)
class Regulator:
    """A tap control on one end of a branch.

    Attributes:
        id: name.
        branch: id of the branch it moves.
        end: the tapped end of it, 0-based.
        seen: (bus, conductor i, conductor j) whose voltage it regulates; j = 0 for line to ground.
        current: position of the conductor within the branch whose current feeds the line-drop
            compensation; -1 without (then R and X are 0).
        v_set_v: voltage level on the control's secondary base.
        band_v: full band width on the same base.
        pt_ratio: potential transformer ratio.
        ct_a: primary current at which R and X apply.
        r_v: line-drop compensation, volt.
        x_v: line-drop compensation, volt.
        delay_s: time out of band before a tap moves.
        tap: present position.
        tap_low: lowest position.
        tap_high: highest position.
        step_pu: voltage of one position, per unit of the winding's nominal voltage.
        base_v: nominal voltage of the regulated winding, V.
        most_taps: positions it may move in one action when time is not simulated.
        direction: +1 where a higher tap raises the regulated voltage, else -1.
        where: ``file:line``.
        locked: held at ``tap``: the control does not act.
    """

    id: str
    branch: str
    end: int
    seen: tuple[int, int, int]
    current: int
    v_set_v: float
    band_v: float
    pt_ratio: float
    ct_a: float
    r_v: float
    x_v: float
    delay_s: float
    tap: int
    base_v: float
    tap_low: int = -16
    tap_high: int = 16
    step_pu: float = 0.00625
    most_taps: int = 16
    direction: int = 1
    where: str = ""
    locked: bool = False


@dataclass(frozen=True, slots=True)
class Capacitor:
    """The switch of a shunt capacitor and its control.

    Attributes:
        id: name.
        shunt: id of the shunt it switches.
        on: present state.
        mode: what its control looks at.
        seen: (bus, conductor) pairs whose voltages it sees: their mean decides.
        branch: id of the branch whose flow it sees; empty without.
        branch_end: the end of it, 0-based.
        conductors: positions within the branch whose flow is summed (power) or averaged (current).
        on_at: switches on beyond (voltage: below) this: V or A on the control's secondary base,
            kvar, or second of the day.
        off_at: switches off beyond this.
        pt_ratio: potential transformer ratio.
        ct_ratio: current transformer ratio.
        v_low_v: voltage override, secondary base: below it switches on whatever the mode says; NaN without.
        v_high_v: above it switches off.
        delay_s: time before it switches on.
        delay_off_s: time before it switches off.
        where: ``file:line``.
    """

    id: str
    shunt: str
    on: bool
    mode: CapacitorMode = CapacitorMode.FIXED
    seen: tuple[tuple[int, int], ...] = ()
    branch: str = ""
    branch_end: int = 0
    conductors: tuple[int, ...] = ()
    on_at: float = NAN
    off_at: float = NAN
    pt_ratio: float = 1.0
    ct_ratio: float = 1.0
    v_low_v: float = NAN
    v_high_v: float = NAN
    delay_s: float = 0.0
    delay_off_s: float = 0.0
    where: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A named part of the feeder: everything behind its head bus up to the next head.

    Attributes:
        id: name.
        title: what a person calls it.
        head: bus row.
    """

    id: str
    title: str
    head: int


@dataclass(slots=True)
class Parts:
    """A whole feeder, element by element.

    Attributes:
        name: short name.
        latitude: degrees north; NaN unknown.
        longitude: degrees east; NaN unknown.
        timezone: IANA name.
        faults: what a reader found wrong so far; ``assemble`` adds to it and stops if there is any.
        notes: what the file says that a steady-state model does not need (meters, fuses), told to
            the user.
    """

    name: str
    latitude: float = NAN
    longitude: float = NAN
    timezone: str = "UTC"
    faults: Faults = field(default_factory=Faults)
    buses: list[Bus] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    shunts: list[Shunt] = field(default_factory=list)
    ports: list[Port] = field(default_factory=list)
    regulators: list[Regulator] = field(default_factory=list)
    capacitors: list[Capacitor] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
