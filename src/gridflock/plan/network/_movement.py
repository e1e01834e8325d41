"""What ports are asked to change, made by their devices: who goes first, and where the energy goes.

To inject less, sun is curtailed first, then batteries charge more, then vehicles; to inject more, batteries
discharge first, then curtailed sun comes back, then vehicles charge less. Devices with a store are bound in
the step and take the nearest schedule that keeps all their bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.grid._network import Float
from gridflock.plan.devices import Bands
from gridflock.plan.devices._compiled import Indices
from gridflock.plan.network._columns import Columns
from gridflock.units import Mask, Money, Rows

COUNTS_KW, COUNTS_KWH = 1e-9, 1e-6
"""A smaller change is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Dispatch:
    """What m devices and d reactive columns do in T steps.

    Attributes:
        p_kw: (m, T) active power of each device.
        q_kvar: (d, T) reactive power of each port with an inverter.
    """

    p_kw: Float
    q_kvar: Float


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Bounds by which a repair holds devices, beyond their own: (m, T), infinite where none."""

    low_kw: Float
    high_kw: Float

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Bounds:
        """No bounds."""
        return cls(np.full(shape, -np.inf), np.full(shape, np.inf))

    def after(self, before: Float, p_kw: Float, wanted: Float) -> Bounds:
        """With what devices were asked in a step and do: a later correction must not undo it."""
        less, more = wanted < before - COUNTS_KW, wanted > before + COUNTS_KW
        low = np.where(more, np.maximum(self.low_kw, np.minimum(p_kw, wanted)), self.low_kw)
        high = np.where(less, np.minimum(self.high_kw, np.maximum(p_kw, wanted)), self.high_kw)
        return Bounds(np.minimum(low, p_kw), np.maximum(high, p_kw))


@dataclass(frozen=True, slots=True, eq=False)
class Rooms:
    """By how much each device could change in a step, kW, class by class in the order they are asked.

    Attributes:
        less: (m, T) each, to inject less.
        more: (m, T) each, to inject more.
    """

    less: tuple[Float, ...]
    more: tuple[Float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """Where something must not, or cannot, inject less or more; masks over ports or devices (.., T).

    Attributes:
        less: not less.
        more: not more.
    """

    less: Mask
    more: Mask

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Guard:
        """Nowhere."""
        return cls(np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """By how much ports (k, T) may change before a limit is reached, kW; infinite where none is near.

    Attributes:
        less: to inject less.
        more: to inject more.
    """

    less: Float
    more: Float

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Space:
        """Without end."""
        return cls(np.full(shape, np.inf), np.full(shape, np.inf))

    def guarded(self, guard: Guard) -> Space:
        """The same with none where it is guarded."""
        return Space(np.where(guard.less, 0.0, self.less), np.where(guard.more, 0.0, self.more))

    def shared(self, port: Rows, stores: Mask) -> Space:
        """(m, T) of each device, those with a store sharing that of their port."""
        count = np.maximum(np.bincount(port[stores], minlength=len(self.less)), 1)[port, None]
        return Space(self.less[port] / count, self.more[port] / count)


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """The same devices twice.

    Attributes:
        firm: with their needs.
        soft: with those that may stay unserved at a price beyond all others.
    """

    firm: Bands
    soft: Bands


def rooms(bands: Bands, of: Dispatch, unable: Guard, steps: Mask) -> Rooms:
    """Rooms in some steps (T,); energy is not looked at: who turned out not to have it has no room (m, T)."""
    two_way = bands.up_kw.any(axis=1)
    stores = (bands.gain_up != 0.0) | (bands.gain_down != 0.0)
    free, both, charging = (kind[:, None] & steps for kind in (~stores, stores & two_way, stores & ~two_way))
    down = np.maximum(of.p_kw - bands.base_kw + bands.down_kw, 0.0) * ~unable.less
    up = np.maximum(bands.base_kw + bands.up_kw - of.p_kw, 0.0) * ~unable.more
    return Rooms((down * free, down * both, down * charging), (up * both, up * free, up * charging))


def found_unable(unable: Guard, before: Float, wanted: Float, after: Float) -> Guard:
    """Who did not do half of what was asked of it is not asked again in that step and direction."""
    asked, done = wanted - before, after - before
    missed = np.abs(done - asked) > 0.5 * np.abs(asked)
    return Guard(
        unable.less | (missed & (asked < -COUNTS_KW)),
        unable.more | (missed & (asked > COUNTS_KW)),
    )


def moved(
    kinds: Kinds,
    columns: Columns,
    price: Money,
    of: Dispatch,
    held: Bounds,
    guard: Guard,
    space: Space,
    wanted: Float,
    pull: float,
) -> Dispatch:
    """A dispatch with other active powers, its reactive power inside what they leave of the inverters.

    Energy goes where no row is near its limit, else where the port's own service has space; a need for which
    that does not leave enough stays unserved.

    Args:
        kinds: the devices.
        columns: where they stand.
        price: (k, T) worth of a kWh injected at each port, money/kWh: where displaced energy goes.
        of: the dispatch.
        held: what holds its devices already.
        guard: where energy is not to go.
        space: how much of it can.
        wanted: (m, T) active powers; those that differ are kept as far as the device can.
        pull: money per kW² and step of straying from what is wanted.
    """
    firm, soft = kinds.firm, kinds.soft
    wanted = within_power(firm, wanted)
    stores = (firm.gain_up != 0.0) | (firm.gain_down != 0.0)
    touched = (np.abs(wanted - of.p_kw) > COUNTS_KW).any(axis=1)
    p_kw: Float = np.where((touched & ~stores)[:, None], wanted, of.p_kw)
    rows = np.flatnonzero(touched & stores)
    own = space.shared(columns.port, stores)
    near = space.guarded(guard).shared(columns.port, stores)
    for bands, here, part in ((firm, near, 1.0), (firm, own, 1.0), (soft, own, 1.0), (soft, own, 0.5),
                              (soft, own, 0.0), (soft, None, 0.0)):  # fmt: skip
        if not len(rows):
            break
        bounds = _asked(held, here, of.p_kw, wanted, part, rows)
        p_kw[rows], _ = bands.nearest(
            price[columns.port[rows]], wanted[rows], pull,
            p_lo_kw=bounds.low_kw, p_hi_kw=bounds.high_kw, rows=rows,
        )  # fmt: skip
        # Who could not have its energy any more is asked again with less to keep.
        rows = rows[_missing_kwh(bands, p_kw[rows], rows) > COUNTS_KWH]
    return Dispatch(p_kw, within(columns, p_kw, of.q_kvar))


def _asked(
    held: Bounds, space: Space | None, before: Float, wanted: Float, part: float, rows: Indices
) -> Bounds:
    """Bounds (n, T) of some rows that keep a part of what is wanted of them, and what space there is."""
    low, high = held.low_kw[rows], held.high_kw[rows]
    if space is None:
        return Bounds(low, high)
    before, wanted = before[rows], wanted[rows]
    less, more = wanted < before - COUNTS_KW, wanted > before + COUNTS_KW
    goal = before + part * (wanted - before)
    low = np.maximum(np.minimum(low, wanted), np.minimum(before - space.less[rows], wanted))
    high = np.minimum(np.maximum(high, wanted), np.maximum(before + space.more[rows], wanted))
    return Bounds(np.where(more, np.maximum(held.low_kw[rows], goal), low),
                  np.where(less, np.minimum(held.high_kw[rows], goal), high))  # fmt: skip


def _missing_kwh(bands: Bands, p_kw: Float, rows: Indices) -> Float:
    """(n,) by how much schedules (n, T) of some rows leave their bands at most, kWh."""
    change = p_kw - bands.base_kw[rows]
    gain = np.where(change > 0.0, bands.gain_up[rows, None], -bands.gain_down[rows, None])
    content = np.cumsum(gain * change * bands.hours, axis=1)
    below = bands.x_lo_kwh[rows, 1:] - content
    missing: Float = np.maximum(below, content - bands.x_hi_kwh[rows, 1:]).max(axis=1)
    return missing


def within_power(bands: Bands, p_kw: Float) -> Float:
    """Active powers (m, T) brought back into what each device can do in each step."""
    kept: Float = np.clip(p_kw, bands.base_kw - bands.down_kw, bands.base_kw + bands.up_kw)
    return kept


def possible(bands: Bands, columns: Columns, of: Dispatch) -> Dispatch:
    """A dispatch that devices can do with what they have in store; the one handed in where they can.

    A band's answer may charge and discharge in one step, of which a schedule only keeps the net: where
    injecting costs, more then stays in store than was planned, and the schedule is followed and corrected
    (``Bands.replay``).

    Args:
        bands: the devices, needs that may stay unserved not in them (``softened``).
        columns: where they stand.
        of: the dispatch.
    """
    p_kw = within_power(bands, of.p_kw)
    followed = p_kw.astype(np.float32)
    before = followed.copy()
    changed = bands.corrected(bands.replay(followed)[0])[:, None] & (followed != before)
    p_kw = np.where(changed, within_power(bands, followed.astype(np.float64)), p_kw)
    if (p_kw == of.p_kw).all():
        return of
    return Dispatch(p_kw, within(columns, p_kw, of.q_kvar))


def within(columns: Columns, p_kw: Float, q_kvar: Float) -> Float:
    """Reactive power brought back into what active power leaves of the inverters."""
    room = columns.reactive_room(p_kw)
    kept: Float = np.clip(q_kvar, -room, room)
    return kept


def shares(columns: Columns, room: Rooms, d_p: Float) -> Float:
    """(m, T) what each device takes of its port's change, class by class, in parts of its room."""
    total: Float = np.zeros_like(room.less[0])
    for asked, classes, sign in (
        (np.maximum(-d_p, 0.0), room.less, -1.0),
        (np.maximum(d_p, 0.0), room.more, 1.0),
    ):
        left = asked
        for mine in classes:
            whole = np.asarray(columns.sums @ mine)
            taken = np.minimum(left, whole)
            part = np.divide(taken, whole, out=np.zeros_like(taken), where=whole > 0.0)
            total += sign * mine * part[columns.port]
            left = left - taken
    return total
