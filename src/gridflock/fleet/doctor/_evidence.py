"""What an examination may look at beside the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gridflock.units import Kw, Kwh, Mask, Pu, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Readings of some resources over time: T uniform steps, m resources.

    Attributes:
        rows: int32 (m,) rows of the fleet.
        step_s: length of a step, s.
        p_kw: (T, m) active power, injection positive; NaN where not heard. None = not at hand.
        v_pu: (T, m) voltage magnitude.
        e_kwh: (T, m) stored energy.
    """

    rows: Rows
    step_s: int
    p_kw: Kw | None = None
    v_pu: Pu | None = None
    e_kwh: Kwh | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What others know.

    Attributes:
        bus_phases: mask of the phases at each bus of the network.
        grouped: bool (n,) whether a row is in any group that means something.
        area: int32 (n,) number of the part of the network whose phases are compared with each other, -1
            where unknown; None = the registered feeder.
    """

    bus_phases: Mapping[str, int] | None = None
    grouped: Mask | None = None
    area: Rows | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on something is found.

    Attributes:
        dead_s: silence of so long is one.
        far_km: distance from the others at a transformer.
        fewest: readings that say anything together.
        off_scale: share of a resource's readings outside its nameplate.
        mean_s: length of the moving mean that is taken off voltages, s.
        confidence: standard deviations by which another phase or transformer must fit better (difference
            of Fisher's z).
        gain: and by how much its correlation must be larger.
    """

    dead_s: int = 86_400
    far_km: float = 2.0
    fewest: int = 24
    off_scale: float = 0.05
    mean_s: int = 14_400
    confidence: float = 3.0
    gain: float = 0.1
