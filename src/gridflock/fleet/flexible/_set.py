"""The flexibility set of a group: what it can surely deliver over a horizon, and who does what then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from gridflock.fleet._capability import INTERVAL_S
from gridflock.fleet._columns import Image
from gridflock.fleet.flexible._blocks import Turns
from gridflock.fleet.flexible._compiled import Array, Spread
from gridflock.fleet.flexible._divide import TOLERANCE_KW, Division, Group, Outside, divide
from gridflock.fleet.flexible._members import Members, Outlook, members_of, willing
from gridflock.fleet.flexible._room import Room, room_of
from gridflock.fleet.flexible._vertex import best
from gridflock.units import Kw, Mask, Rows, TimeGrid


@dataclass(frozen=True, slots=True, eq=False)
class Schedules:
    """A trajectory divided among members.

    Attributes:
        rows: int32 (m,) rows of the fleet; a row may stand twice, its powers then add up.
        p_kw: (m, T) injection of each, mean over the step.
        residual_kw: largest miss of the trajectory by the sum, before on/off loads are made whole.
        rounding_kw: largest further miss, because on/off loads are whole.
    """

    rows: Rows
    p_kw: Kw
    residual_kw: float
    rounding_kw: float


@dataclass(frozen=True, slots=True, eq=False)
class FlexibilitySet:
    """Every trajectory in the set can be divided among the members within each one's own limits.

    The set is the Minkowski sum of the members' sets. Stores that lose nothing, or go one way only,
    tanks, comfort bands and sun on offer take part with all they can do; two-way stores with losses
    and slow generators with a convex part of it (``Members.inner``); on/off loads with the powers
    their turns allow, whole devices being off by less than ``rounding_kw``.

    Attributes:
        grid: T steps.
        members: the models.
        left_out: int32 rows asked for that promise nothing: silent, not ready, or not known enough.
        ramp_kw_s: sum of the members' fastest changes of power, kW/s.
        notice_s: time from an order to its effect that the set counts on, s.
    """

    grid: TimeGrid
    members: Members
    left_out: Rows
    ramp_kw_s: float
    notice_s: int = INTERVAL_S

    @property
    def form(self) -> str:
        """``g-polymatroid`` (lossless stores), ``exact`` (no member gives less than it can) or ``inner``."""
        if self.members.inner.any() or self.members.blocks.n:
            return "inner"
        return "g-polymatroid" if self.members.chains.lossless else "exact"

    @property
    def guarantee(self) -> str:
        """What is promised of every trajectory in the set, in words."""
        met = f"met within {TOLERANCE_KW:g} kW at every step, each member inside its own limits"
        loads = self.members.blocks
        return f"{met}; on/off loads are whole, off by less than {loads.rounding_kw:g} kW" if loads.n else met

    @property
    def rows(self) -> Rows:
        """Int32 rows of the members, ascending, each once."""
        return np.union1d(self.members.chains.rows, self.members.blocks.rows).astype(np.int32)

    def vertex(self, worth: Array, spread: Spread = map, parts: int = 1) -> Schedules:
        """The members' schedules that earn most where one kW held over step t is worth ``worth[t]``.

        On/off loads are whole here without rounding: none of a turn's loads is on, or all.
        """
        _, stores, drawn = self._answer(worth, spread, parts)
        return self._schedules(stores, drawn, 0.0, rounding_kw=0.0)

    def most(self, worth: Array, spread: Spread = map, parts: int = 1) -> float:
        """The largest weighted sum of a trajectory in the set: its support function."""
        return float(worth @ self._answer(worth, spread, parts)[0])

    def most_kwh(self, steps: Mask) -> float:
        """The most energy that can be injected over any set of steps: the upper set function."""
        return self.most(np.where(steps, self.grid.hours, 0.0))

    def least_kwh(self, steps: Mask) -> float:
        """The least energy that can be injected over any set of steps: the lower set function."""
        return -self.most(np.where(steps, -self.grid.hours, 0.0))

    def divide(self, p_kw: Kw, spread: Spread = map, parts: int = 1) -> Schedules | Outside:
        """Schedules of the members that add up to a trajectory, or the proof that it is outside.

        Args:
            p_kw: (T,) injection of the group, mean over each step.
            spread: ``map``, or that of a pool of threads.
            parts: over how many calls.

        Raises:
            ValueError: not T finite numbers.
        """
        found = self._divided(p_kw, spread, parts)
        if isinstance(found, Outside):
            return found
        rounding = self.members.blocks.rounding_kw
        return self._schedules(found.chains_kw, found.drawn_kw, found.residual_kw, rounding)

    def contains(self, p_kw: Kw) -> bool:
        """Whether a trajectory can be delivered, (T,) kW.

        Raises:
            ValueError: not T finite numbers.
        """
        return not isinstance(self._divided(p_kw, map, 1), Outside)

    def room(self) -> Room:
        """Bounds of power, energy and time that follow from the set."""
        return room_of(self.grid, self.members.chains, Turns(self.members.blocks))

    def _divided(self, p_kw: Kw, spread: Spread, parts: int) -> Division | Outside:
        wanted = np.asarray(p_kw, dtype=np.float64)
        if wanted.shape != (self.grid.n,) or not np.isfinite(wanted).all():
            raise ValueError(f"a trajectory has {self.grid.n} finite powers")
        return divide(self._group(spread, parts), wanted)

    def _answer(self, worth: Array, spread: Spread, parts: int) -> tuple[Kw, Kw, Kw]:
        """Sum of the best schedules, those of the chains in float32, and what blocks draw at their turns."""
        chains, turns = self.members.chains, Turns(self.members.blocks)
        stores = np.empty(chains.p_lo_kw.shape, dtype=np.float32)
        drawn = turns.best(worth)
        return best(chains, worth, stores, spread, parts) + turns.power(drawn), stores, drawn

    def _group(self, spread: Spread, parts: int) -> Group:
        return Group(self.members.chains, self.members.blocks, spread, parts)

    def _schedules(self, stores: Kw, drawn: Kw, residual_kw: float, rounding_kw: float) -> Schedules:
        if not self.members.blocks.n:
            return Schedules(self.members.chains.rows, stores, residual_kw, rounding_kw)
        loads = Turns(self.members.blocks).devices(drawn)
        rows = np.concatenate([self.members.chains.rows, self.members.blocks.rows])
        return Schedules(rows, np.concatenate([stores, loads]), residual_kw, rounding_kw)


def flexibility_set(
    image: Image, rows: Rows, grid: TimeGrid, outlook: Outlook | None = None
) -> FlexibilitySet:
    """The flexibility set of some rows over a horizon.

    Args:
        image: the process image.
        rows: int32 rows of the group; a row named twice counts once.
        grid: T steps, the first of which starts now.
        outlook: what is known of the horizon beyond the image.

    Raises:
        ValueError: an outlook whose shape does not fit, that is not finite, or whose generators switch
            faster than they may.
    """
    outlook = outlook or Outlook()
    _check(image, grid, outlook)
    named = np.unique(rows).astype(np.int32)
    able = willing(image, named)
    some = named[able]
    ramp = float(image.columns["ramp_kw_s"][some].sum(dtype=np.float64))
    return FlexibilitySet(grid, members_of(image, some, grid, outlook), named[~able], ramp)


def _check(image: Image, grid: TimeGrid, outlook: Outlook) -> None:
    whole, n = (image.n, grid.n), image.n
    wanted = {"unasked_kw": whole, "worth": (grid.n,), "running": whole, "loss_per_h": (n,)}
    for name, shape in wanted.items():
        given = getattr(outlook, name)
        if given is not None and (given.shape != shape or not np.isfinite(given).all()):
            raise ValueError(f"outlook.{name}: {shape} finite numbers are needed")


def together(sets: Sequence[FlexibilitySet]) -> FlexibilitySet:
    """The set of all members of some sets over one grid: the same as that of their union.

    Raises:
        ValueError: no sets, different grids, or a row in two of them, which would be promised twice.
    """
    if not sets or any(not np.array_equal(s.grid.edges_s, sets[0].grid.edges_s) for s in sets):
        raise ValueError("sets over one and the same grid can be joined")
    rows = np.concatenate([s.rows for s in sets])
    if len(np.unique(rows)) < len(rows):
        raise ValueError("a resource is in two sets: it can be promised once only")
    left_out = np.unique(np.concatenate([s.left_out for s in sets])).astype(np.int32)
    return replace(
        sets[0],
        members=reduce(Members.and_also, (s.members for s in sets)),
        left_out=np.setdiff1d(left_out, rows).astype(np.int32),
        ramp_kw_s=sum(s.ramp_kw_s for s in sets),
        notice_s=max(s.notice_s for s in sets),
    )
