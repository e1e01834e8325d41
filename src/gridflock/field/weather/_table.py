"""One measure for every delivery: from columns as they came to a forecast, and all that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Rejected, Weather
from gridflock.units import DAY_S, HOUR_S, TimeGrid, iso

Floats = NDArray[np.float64]

QUANTITIES: Mapping[str, tuple[float, float]] = {
    "temp_c": (-80.0, 60.0),
    "apparent_c": (-90.0, 70.0),
    "ghi_w_m2": (0.0, 1_500.0),
    "dni_w_m2": (0.0, 1_500.0),
    "dhi_w_m2": (0.0, 1_000.0),
    "wind_m_s": (0.0, 110.0),
    "wind_100m_m_s": (0.0, 130.0),
    "gust_m_s": (0.0, 150.0),
    "wind_deg": (0.0, 360.0),
    "cloud": (0.0, 1.0),
    "humidity_pct": (0.0, 100.0),
    "pressure_pa": (50_000.0, 110_000.0),
}
"""Columns that are taken, with what can be."""
_LITTLE = 0.02
"""Share of a range by which rounding may leave it: taken as its end."""
_SHORTEST_S, _LONGEST_S = 300, 6 * HOUR_S
_MOST_STEPS = 2_000
_AHEAD_S = 300
"""So far ahead of ours the clock of a source may be."""
_FARTHEST_S = 30 * DAY_S
"""So far ahead steps may begin: no forecast of the weather says anything of later ones."""


class Judged:
    """Faults of one delivery.

    Args:
        source: what delivered it.
        found: what was wrong before it came here.
    """

    def __init__(self, source: str, found: tuple[Rejected, ...] = ()) -> None:
        self.source, self.faults = source, list(found)

    def fault(self, field: str, reason: str, count: int = 1, ids: tuple[str, ...] = ()) -> None:
        """Name one."""
        self.faults.append(Rejected(self.source, field, ids, reason, count=count))

    def table(
        self, t_s: Floats, columns: Mapping[str, Floats], issued_s: Floats, now_s: int
    ) -> tuple[Weather | None, tuple[Rejected, ...]]:
        """The forecast in a delivery.

        Args:
            t_s: (n,) starts of steps, in any order; NaN where a stamp could not be read.
            columns: (n,) each, by our names; others are named and left out.
            issued_s: (n,) when each row was issued; of rows of several issues the newest are taken.
            now_s: the moment.
        """
        known = self._known(columns)
        rows = self._of_newest(t_s, issued_s, now_s) if known else np.empty(0, dtype=np.int64)
        step_s = self._step(t_s[rows]) if len(rows) else 0
        if step_s == 0:
            return None, tuple(self.faults)
        start_s = int(t_s[rows].min())
        place = (t_s[rows].astype(np.int64) - start_s) // step_s
        n = int(place.max()) + 1
        if not self._of_use(start_s, step_s, n, now_s):
            return None, tuple(self.faults)
        told = self._usable({name: _laid(column[rows], place, n) for name, column in known.items()})
        if not told:
            return None, tuple(self.faults)
        grid, issue_s = TimeGrid.uniform(start_s, step_s, n), int(issued_s[rows[0]])
        return Weather(grid, told, "issued", np.full(n, issue_s, dtype=np.int64)), tuple(self.faults)

    def _known(self, columns: Mapping[str, Floats]) -> dict[str, Floats]:
        """Columns that tell of the weather."""
        known = {name: np.asarray(column) for name, column in columns.items() if name in QUANTITIES}
        if strange := sorted(set(columns) - set(known)):
            reason = f"no quantity of the weather (rule: one of {', '.join(QUANTITIES)})"
            self.fault("column", reason, len(strange), tuple(strange[:5]))
        if not known:
            self.fault("columns", "none that tells of the weather")
        return known

    def _of_use(self, start_s: int, step_s: int, n: int, now_s: int) -> bool:
        """Whether there are not too many steps, and one of them is yet to come."""
        if n > _MOST_STEPS:
            self.fault("stamps", f"{n} steps (rule: at most {_MOST_STEPS})")
            return False
        if start_s + n * step_s <= now_s:
            self.fault("issue", f"late: all of it is over, the last step ends {iso(start_s + n * step_s)}")
            return False
        return True

    def _usable(self, laid: Mapping[str, Floats]) -> dict[str, Floats]:
        """Columns within their ranges, those that hold anything then."""
        within = {name: self._within(name, column) for name, column in laid.items()}
        told = {name: column for name, column in within.items() if np.isfinite(column).any()}
        if empty := sorted(within.keys() - told.keys()):
            self.fault("values", "not one that can be used", len(empty), tuple(empty))
        return told

    def _of_newest(self, t_s: Floats, issued_s: Floats, now_s: int) -> NDArray[np.int64]:
        """Rows of the newest issue, the last one of each stamp."""
        if not len(t_s):
            self.fault("rows", "none")
            return np.empty(0, dtype=np.int64)
        read = np.isfinite(t_s) & np.isfinite(issued_s)
        early = read & (issued_s > now_s + _AHEAD_S)
        if early.any():
            when = iso(int(issued_s[early].min()))
            reason = f"issued in the future, {when}: its clock or zone is wrong"
            self.fault("issue", reason, int(early.sum()))
        far = read & ~early & (t_s > now_s + _FARTHEST_S)
        if far.any():
            most, days = _FARTHEST_S // DAY_S, (t_s[far].max() - now_s) / DAY_S
            reason = f"{days:.0f} days ahead (rule: at most {most}): a stamp, clock or zone is wrong"
            self.fault("stamps", reason, int(far.sum()))
        if 2 * far.sum() > len(t_s):
            # That is no forecast with a stamp or two that are wrong.
            return np.empty(0, dtype=np.int64)
        usable = read & ~early & ~far
        if not usable.any():
            if not (early | far).any():
                self.fault("stamps", "not one that can be read", len(t_s))
            return np.empty(0, dtype=np.int64)
        rows = np.flatnonzero(usable & (issued_s == issued_s[usable].max()))
        stamps, last = np.unique(t_s[rows][::-1], return_index=True)
        if len(stamps) < len(rows):
            self.fault("stamps", "several rows of one step: the last is taken", len(rows) - len(stamps))
        return np.asarray(rows[len(rows) - 1 - last])

    def _step(self, t_s: Floats) -> int:
        """Length of a step; 0, and a fault, where rows do not lie on one grid."""
        apart = np.diff(t_s)
        if not len(apart):
            self.fault("stamps", "a single step: its length is not told")
            return 0
        step_s = int(apart.min())
        if not _SHORTEST_S <= step_s <= _LONGEST_S:
            self.fault("stamps", f"steps of {step_s} s (rule: {_SHORTEST_S} to {_LONGEST_S})")
            return 0
        if off := int((np.mod(t_s - t_s[0], step_s) != 0).sum()):
            self.fault("stamps", f"between steps of {step_s} s: taken to the step they lie in", off)
        return step_s

    def _within(self, name: str, column: Floats) -> Floats:
        """A column without what cannot be."""
        low, high = QUANTITIES[name]
        edge = _LITTLE * (high - low)
        finite = np.isfinite(column)
        beyond = finite & ((column < low - edge) | (column > high + edge))
        endless = np.isinf(column)
        if beyond.any() or endless.any():
            reason = f"cannot be (rule: {low:g} to {high:g})"
            self.fault(name, reason, int((beyond | endless).sum()))
        found: Floats = np.where(finite & ~beyond, np.clip(column, low, high), np.nan)
        return found


def _laid(column: Floats, place: NDArray[np.int64], n: int) -> Floats:
    """A column on its steps; NaN where no row is."""
    found = np.full(n, np.nan)
    found[place] = column
    return found
