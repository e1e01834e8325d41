"""What a fault is: where it stands, what was seen, and what would mend it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class Kind(StrEnum):
    """What a series is said to measure; house sign, so load is negative and generation positive."""

    LOAD = "load"
    """Consumption alone."""
    NET = "net"
    """A sum of load and generation, such as a substation."""
    SOLAR = "solar"
    WIND = "wind"
    IRRADIANCE = "irradiance"
    """Light on a horizontal plane, W/m² or any multiple of it."""
    PRICE = "price"
    """Money per energy: it may stand still for hours, fall below 0, and spike."""
    OTHER = "other"
    """Nothing is expected of it but that it moves."""


class Rule(StrEnum):
    """What can be wrong with a series."""

    EMPTY = "empty"
    """Not one value."""
    SHORT = "short"
    """Too little to judge by."""
    DISORDER = "disorder"
    """Stamps that do not rise."""
    DUPLICATE = "duplicate"
    """Several values for one step."""
    OFF_GRID = "off grid"
    """Stamps between the steps."""
    GAP = "gap"
    """Nothing heard."""
    UNIT = "unit"
    """Values a thousand times too large or too small."""
    OUTLIER = "outlier"
    """Single values out of all proportion, or not finite."""
    SIGN = "sign"
    """Generation where load must be, or the other way round."""
    MISLABEL = "mislabel"
    """Not what it is said to be."""
    CLOCK_SHIFT = "clock shift"
    """Stamps off by the same time throughout."""
    CLOCK_JUMP = "clock jump"
    """Stamps off by a time that changes, as at the changes of daylight saving."""
    STUCK = "stuck"
    """One value that stands still where the series otherwise moves."""
    DEAD = "dead"
    """No output through whole days of light."""
    LEVEL = "level"
    """A stretch far from what the series ever does: a transfer of load, a fault of a sum."""


class Repair(StrEnum):
    """What mends a fault."""

    NONE = "none"
    """Nothing to do: the values are absent, or right as they are."""
    SHIFT = "shift"
    """Move the stamps by ``amount`` seconds."""
    NEGATE = "negate"
    """Turn the sign."""
    SCALE = "scale"
    """Multiply by ``amount``."""
    MASK = "mask"
    """Take the values as not heard."""
    RELABEL = "relabel"
    """Take the series as ``Kind.OTHER``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one series over one stretch of time.

    Attributes:
        series: id.
        rule: what is wrong.
        from_s: first moment at fault, unix seconds, by the stamps as they came.
        until_s: end of the stretch, not included.
        seen: what was seen, in words with numbers.
        evidence: the numbers by name.
        repair: what mends it.
        amount: seconds to add to the stamps (shift) or factor (scale); 0 for other repairs.
        safe: whether the evidence is strong enough to mend it unasked.
    """

    series: str
    rule: Rule
    from_s: int
    until_s: int
    seen: str
    evidence: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    repair: Repair = Repair.NONE
    amount: float = 0.0
    safe: bool = True

    def plain(self) -> dict[str, Any]:
        """The finding as plain values, for JSON."""
        return {
            "series": self.series,
            "rule": str(self.rule),
            "from_s": self.from_s,
            "until_s": self.until_s,
            "seen": self.seen,
            "evidence": dict(self.evidence),
            "repair": str(self.repair),
            "amount": self.amount,
            "safe": self.safe,
        }
