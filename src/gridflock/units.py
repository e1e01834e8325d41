"""Units, sign, phases and the time grid: what every number in Gridflock is measured in.

Sign (CONVENTIONS §1): positive active and reactive power is injection into the grid at the
connection point; load and charging are negative. Units (§2) are the suffix of the name:
``p_kw``, ``q_kvar``, ``e_kwh``, ``v_pu``, ``t_s``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Kw = Annotated[NDArray[np.floating[Any]], "kW"]
Kvar = Annotated[NDArray[np.floating[Any]], "kvar"]
Kwh = Annotated[NDArray[np.floating[Any]], "kWh"]
Volt = Annotated[NDArray[np.floating[Any]], "V"]
Ampere = Annotated[NDArray[np.floating[Any]], "A"]
Pu = Annotated[NDArray[np.floating[Any]], "pu"]
Money = Annotated[NDArray[np.floating[Any]], "money"]
Seconds = Annotated[NDArray[np.int64], "s"]
"""Unix seconds, UTC. Absence is -1 (CONVENTIONS §3)."""
Rows = NDArray[np.int32]
"""Row numbers into a table of columns. Absence is -1."""
Codes = NDArray[np.uint8]
"""Small enumerations: kinds, statuses, phase masks, quality."""
Mask = NDArray[np.bool_]

PHASES = "abc"
NEVER_S = -1
"""The absent moment."""
DAY_S = 86_400
HOUR_S = 3_600
QUARTER_S = 900


def phase_mask(phases: str) -> int:
    """Bit mask of a phase string: ``"a"`` -> 1, ``"bc"`` -> 6, ``"abc"`` -> 7.

    Raises:
        ValueError: a letter outside a, b, c, a repeated letter, or nothing at all.
    """
    letters = phases.lower()
    if not letters or len(set(letters)) != len(letters) or set(letters) - set(PHASES):
        message = f"phases {phases!r}: expected some of a, b, c, each once"
        raise ValueError(message)
    return sum(1 << PHASES.index(letter) for letter in letters)


def phase_letters(mask: int) -> str:
    """The phase string of a bit mask: 5 -> ``"ac"``."""
    return "".join(letter for i, letter in enumerate(PHASES) if mask >> i & 1)


def iso(t_s: float) -> str:
    """ISO 8601 text, UTC, of a moment in unix seconds; ``""`` for the absent moment."""
    if t_s == NEVER_S:
        return ""
    return datetime.fromtimestamp(t_s, tz=UTC).isoformat().replace("+00:00", "Z")


def unix_s(text: str) -> int:
    """Unix seconds of an ISO 8601 text; a text without a zone is taken as UTC.

    Raises:
        ValueError: not a date and time.
    """
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def utc_offset_s(timezone: str, t_s: Seconds) -> Seconds:
    """Local clock minus UTC at each moment, seconds, daylight saving included.

    Args:
        timezone: IANA name.
        t_s: moments; zones change at whole quarters of an hour.
    """
    quarters, where = np.unique(t_s // QUARTER_S, return_inverse=True)
    offsets = [_offset_of(timezone, int(quarter)) for quarter in quarters]
    return np.array(offsets, dtype=np.int64)[where]


@lru_cache(maxsize=65_536)
def _offset_of(timezone: str, quarter: int) -> int:
    offset = datetime.fromtimestamp(quarter * QUARTER_S, tz=ZoneInfo(timezone)).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


@dataclass(frozen=True, slots=True, eq=False)
class TimeGrid:
    """Half-open steps ``[edge[k], edge[k+1])`` in UTC; steps may grow along a horizon.

    Attributes:
        edges_s: int64 (n+1,), strictly increasing unix seconds.
    """

    edges_s: Seconds

    @classmethod
    def uniform(cls, start_s: int, step_s: int, n: int) -> TimeGrid:
        """``n`` equal steps of ``step_s`` seconds from ``start_s``."""
        return cls(start_s + step_s * np.arange(n + 1, dtype=np.int64))

    @property
    def n(self) -> int:
        """How many steps."""
        return len(self.edges_s) - 1

    @property
    def start_s(self) -> int:
        """First moment, included."""
        return int(self.edges_s[0])

    @property
    def end_s(self) -> int:
        """Last moment, not included."""
        return int(self.edges_s[-1])

    @property
    def starts_s(self) -> Seconds:
        """Start of each step (n,)."""
        return self.edges_s[:-1]

    @property
    def middles_s(self) -> Seconds:
        """Middle of each step (n,): where a mean value over the step is evaluated."""
        return (self.edges_s[:-1] + self.edges_s[1:]) // 2

    @property
    def hours(self) -> NDArray[np.float64]:
        """Length of each step in hours (n,)."""
        return np.diff(self.edges_s) / HOUR_S

    def step_at(self, t_s: float) -> int:
        """The step that holds ``t_s``; -1 outside the grid."""
        k = int(np.searchsorted(self.edges_s, t_s, side="right")) - 1
        return k if 0 <= k < self.n else -1
