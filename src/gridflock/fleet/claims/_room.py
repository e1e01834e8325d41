"""What is free of a body beside all claims, and which claims stand in the way.

Bodies that nest need only be compared with what is claimed inside each body above: a need fits if none of
these has more claimed than it has. Bodies that cross are taken together (``_crossing``); what is claimed
inside one region of them counts as narrowing that region. Where services stack, what adding up refuses is
decided by ``_stacking``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.claims._bodies import Bodies, Body, within
from gridflock.fleet.claims._crossing import Regions, Watts, arcs_of, room_beside
from gridflock.fleet.claims._stacking import Stacking, room_stacked
from gridflock.fleet.claims._steps import Steps
from gridflock.fleet.claims._table import Slots, Table
from gridflock.units import Mask

_KEPT = 64
"""Partitions of crossing bodies kept for the next question."""
Blocks = Callable[[Slots], bool]
_INSIDE, _OUTSIDE = -1, -2
_FEW = 64
"""So many bodies that cross another one are looked at one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class Short:
    """Where a need does not fit first.

    Attributes:
        start_s: stretch of time, from, included.
        until_s: until, excluded.
        room: W or Wh that would fit there then.
        slots: claims among which those in the way are, all in force then.
        blocks: whether some of them alone leave too little.
        adds_up: any claims of that size together do.
    """

    start_s: int
    until_s: int
    room: int
    slots: Slots
    blocks: Blocks
    adds_up: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """A need as a question: so many watts of a body, of a class of services, from and until."""

    body: Body
    quantity: int
    sold: int
    start_s: int
    until_s: int
    need: int = 0

    def over(self, start_s: int, until_s: int) -> Ask:
        """The same for another time."""
        return Ask(self.body, self.quantity, self.sold, start_s, until_s, self.need)


class Room:
    """Answers questions on what is free; it changes nothing."""

    def __init__(self, bodies: Bodies, table: Table, stacking: Stacking) -> None:
        self._bodies = bodies
        self._table = table
        self.stacking = stacking
        self._kept: dict[tuple[int, ...], Regions] = {}

    def free(self, ask: Ask) -> int:
        """W or Wh that fit throughout the time asked for."""
        return self.free_over(ask, [(ask.start_s, ask.until_s)])[0]

    def free_over(self, ask: Ask, spans: Sequence[tuple[int, int]]) -> list[int]:
        """W or Wh that fit throughout each of some spans, all inside the time asked for."""
        if self._stacks(ask):
            return [self._free_stacked(ask.over(*span)) for span in spans]
        rooms = [ask.body.size[ask.quantity]] * len(spans)
        for bodies in self._chain(ask):
            if len(bodies) == 1:
                claimed, size = _all_of(bodies[0], ask.quantity), bodies[0].size[ask.quantity]
                found = [size - claimed.peak(*span) for span in spans]
            else:
                found = _Crossing(self, bodies, ask).rooms(spans)
            rooms = [max(min(pair), 0) for pair in zip(rooms, found, strict=True)]
        return rooms

    def short(self, ask: Ask) -> Short | None:
        """Where a need does not fit first, smaller bodies first; None if it fits."""
        found = None
        for bodies in [] if self._surely_fits(ask) else self._chain(ask):
            found = self._short_one(bodies[0], ask) if len(bodies) == 1 else self._short_crossing(bodies, ask)
            if found is not None:
                break
        if found is not None and self._stacks(ask):
            return self._short_stacked(ask)
        return found

    def _surely_fits(self, ask: Ask) -> bool:
        """Whether a need fits even if all that crosses a body above is served inside that body.

        Enough, because a set of needs that has too little has a largest body A that holds what is asked;
        the rest of the set has what it needs outside of A but for what crosses A.
        """
        when = (ask.quantity, ask.start_s, ask.until_s)
        for body in (ask.body, *ask.body.above):
            if body is ask.body or body.active(*when):
                spare = body.size[ask.quantity] - body.most(body.within, *when) - ask.need
                if body.most(body.across, *when) > spare and not self._spares(body, ask, spare):
                    return False
        return True

    def _spares(self, body: Body, ask: Ask, spare: int) -> bool:
        """Whether all that crosses a body need take no more of it than is spare.

        What crosses takes at most what the two share, and nothing if all that touches it, wherever it is
        served, fits into its rest: then its own claims can be served there.
        """
        if spare < 0 or len(body.crosses) > _FEW:
            return False
        when = (ask.quantity, ask.start_s, ask.until_s)
        watts = self._bodies.watts[ask.quantity]
        for other in body.crosses:
            own = other.most(other.own, *when)
            if own:
                shared = int(watts[body.rows[within(body.rows, other.rows)]].sum())
                touching = other.most(other.within, *when) + other.most(other.across, *when)
                touching += sum(above.most(above.own, *when) for above in other.above)
                if touching > other.size[ask.quantity] - shared:
                    spare -= min(own, shared)
        return spare >= 0

    # ---- bodies that nest ------------------------------------------------------------------------------

    def _chain(self, ask: Ask) -> list[list[Body]]:
        """The body and all above it with claims of their own, each with those that cross it, by size."""
        quantity, start_s, until_s = ask.quantity, ask.start_s, ask.until_s
        above = [body for body in ask.body.above if body.active(quantity, start_s, until_s)]
        seen: set[Body] = set()
        chain: list[list[Body]] = []
        for first in [ask.body, *sorted(above, key=lambda body: len(body.rows))]:
            if first in seen:
                continue
            together = [first]
            seen.add(first)
            for body in together:
                news = [b for b in body.crosses if b not in seen and b.active(quantity, start_s, until_s)]
                seen.update(news)
                together += news
            chain.append(together)
        return sorted(chain, key=lambda bodies: max(len(body.rows) for body in bodies))

    def _short_one(self, body: Body, ask: Ask) -> Short | None:
        claimed, size = _all_of(body, ask.quantity), body.size[ask.quantity]
        if claimed.peak(ask.start_s, ask.until_s) + ask.need <= size:
            return None
        start_s, until_s = ask.start_s, ask.until_s
        if ask.need <= size:
            start_s, until_s = claimed.above(size - ask.need, start_s, until_s)
        need = self._table.need[ask.quantity]
        slots = self._inside(body, ask, start_s)
        room = size - claimed.peak(start_s, until_s)

        def blocks(some: Slots) -> bool:
            return int(need[some].sum()) + ask.need > size

        return Short(start_s, until_s, room, slots, blocks, adds_up=True)

    def _inside(self, body: Body, ask: Ask, moment_s: int) -> Slots:
        """Claims on a body and on those below it; none that are in force cross it."""
        table = self._table
        slots = table.between(ask.quantity, moment_s, moment_s + 1)
        above = np.array([other.number for other in body.above], dtype=np.int32)
        inside = within(table.first[slots], body.rows) & ~np.isin(table.body[slots], above)
        found: Slots = slots[inside]
        return found

    # ---- bodies that cross -----------------------------------------------------------------------------

    def _short_crossing(self, bodies: Sequence[Body], ask: Ask) -> Short | None:
        crossing = _Crossing(self, bodies, ask)
        if crossing.room(crossing.slots) >= ask.need:
            return None
        for start_s, until_s, slots in crossing.stretches():
            room, cut = crossing.cut(slots)
            if room < ask.need:

                def blocks(some: Slots) -> bool:
                    return crossing.room(some) < ask.need

                return Short(start_s, until_s, max(room, 0), cut, blocks)
        return None

    def regions(self, bodies: Sequence[Body]) -> Regions:
        """How some bodies part each other; the same ones are parted once."""
        key = tuple(body.number for body in bodies)
        found = self._kept.get(key)
        if found is None:
            found = Regions.of(bodies, self._bodies.watts)
            if min(key) >= 0:
                if len(self._kept) >= _KEPT:
                    self._kept.clear()
                self._kept[key] = found
        return found

    # ---- services that stack ---------------------------------------------------------------------------

    def _stacks(self, ask: Ask) -> bool:
        """Whether any claim that may matter stacks with another one, or with what is asked."""
        if not self.stacking.pairs.any():
            return False
        slots = self._table.between(ask.quantity, ask.start_s, ask.until_s)
        classes = np.union1d(self._table.sold[slots], [ask.sold])
        return self.stacking.any_among(classes.tolist())

    def _free_stacked(self, ask: Ask) -> int:
        stacked = _Stacked(self, self._near(ask), ask)
        rooms = [stacked.room(slots) for _, _, slots in stacked.stretches()]
        return max(min(ask.body.size[ask.quantity], *rooms), 0)

    def _short_stacked(self, ask: Ask) -> Short | None:
        stacked = _Stacked(self, self._near(ask), ask)
        for start_s, until_s, slots in stacked.stretches():
            room = stacked.room(slots)
            if room < ask.need:

                def blocks(some: Slots) -> bool:
                    return stacked.room(some) < ask.need

                return Short(start_s, until_s, max(room, 0), slots, blocks)
        return None

    def _near(self, ask: Ask) -> list[Body]:
        """The body and all that overlap with it, or with one that does, and have claims of their own."""
        near, seen = [ask.body], {ask.body}
        for body in near:
            for other in (*body.above, *body.crosses, *body.below):
                if other not in seen and other.active(ask.quantity, ask.start_s, ask.until_s):
                    seen.add(other)
                    near.append(other)
        return near

    def claims_of(self, ask: Ask) -> Slots:
        """Claims of the quantity in force at some moment of the time asked for."""
        return self._table.between(ask.quantity, ask.start_s, ask.until_s)

    def claim_columns(self, slots: Slots) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Body, first row and class of some claims."""
        return self._table.body[slots], self._table.first[slots], self._table.sold[slots]

    def needs(self, slots: Slots, quantity: int) -> Watts:
        """Sizes of some claims."""
        found: Watts = self._table.need[quantity, slots]
        return found

    def number_of(self, bodies: Sequence[Body]) -> NDArray[np.int64]:
        """Place of every known body among some; -2 of those above one of them, -1 of all others."""
        found = np.full(len(self._bodies.all), _INSIDE, dtype=np.int64)
        for body in bodies:
            found[[other.number for other in body.above]] = _OUTSIDE
        for k, body in enumerate(bodies):
            if body.number >= 0:
                found[body.number] = k
        return found

    def cut_in_time(self, slots: Slots, ask: Ask) -> list[tuple[int, int, Slots]]:
        """Stretches of the time asked for with the claims in force in each."""
        return [
            (start_s, until_s, self._table.at(slots, ask.quantity, start_s))
            for start_s, until_s in self._table.stretches(slots, ask.quantity, ask.start_s, ask.until_s)
        ]


class _Crossing:
    """A question among bodies that cross, with the claims on them and inside their regions."""

    def __init__(self, room: Room, bodies: Sequence[Body], ask: Ask) -> None:
        self._owner = room
        self._ask = ask
        self._regions = room.regions(bodies)
        self._count = len(bodies)
        every = room.claims_of(ask)
        on, first, _ = room.claim_columns(every)
        self._number = room.number_of(bodies)
        region = self._regions.region_of(first)
        self.slots = every[(self._number[on] >= 0) | ((self._number[on] == _INSIDE) & (region >= 0))]
        self._size = self._regions.size[ask.quantity]
        asked = np.unique(self._regions.region_of(ask.body.rows))
        self._arcs = arcs_of(self._regions.holds, asked)

    def stretches(self) -> list[tuple[int, int, Slots]]:
        """The time asked for, cut where claims begin or end."""
        return self._owner.cut_in_time(self.slots, self._ask)

    def room(self, slots: Slots) -> int:
        """Room beside some claims; negative where even these do not fit."""
        return self._solve(slots)[0]

    def rooms(self, spans: Sequence[tuple[int, int]]) -> list[int]:
        """Room throughout each of some spans."""
        known = [(start_s, until_s, self.room(slots)) for start_s, until_s, slots in self.stretches()]
        return [min(r for start, until, r in known if start < span[1] and until > span[0]) for span in spans]

    def cut(self, slots: Slots) -> tuple[int, Slots]:
        """Room beside some claims, and those of them that bound it."""
        room, needs, regions = self._solve(slots)
        on, first, _ = self._owner.claim_columns(slots)
        number = self._number[on]
        bound = np.where(number >= 0, needs[number], regions[self._regions.region_of(first)])
        return room, slots[bound]

    def _solve(self, slots: Slots) -> tuple[int, Mask, Mask]:
        on, first, _ = self._owner.claim_columns(slots)
        size = self._owner.needs(slots, self._ask.quantity)
        number = self._number[on]
        need = np.zeros(self._count, dtype=np.int64)
        np.add.at(need, number[number >= 0], size[number >= 0])
        left = self._size.copy()
        np.subtract.at(left, self._regions.region_of(first[number < 0]), size[number < 0])
        return room_beside(self._arcs, np.maximum(left, 0), need)


class _Stacked:
    """A question among all bodies that overlap, of services some of which stack."""

    def __init__(self, room: Room, bodies: Sequence[Body], ask: Ask) -> None:
        self._owner = room
        self._ask = ask
        self._regions = room.regions(bodies)
        self._number = room.number_of(bodies)
        every = room.claims_of(ask)
        on, _, _ = room.claim_columns(every)
        known = {body.number: k for k, body in enumerate(bodies)}
        self._place = np.array([known.get(number, -1) for number in range(len(self._number))], dtype=np.int64)
        self.slots = every[self._place[on] >= 0] if len(every) else every
        self._holds = self._regions.holds.toarray() > 0

    def stretches(self) -> list[tuple[int, int, Slots]]:
        """The time asked for, cut where claims begin or end."""
        return self._owner.cut_in_time(self.slots, self._ask)

    def room(self, slots: Slots) -> int:
        """Room beside some claims; -1 where even these do not fit."""
        on, _, sold = self._owner.claim_columns(slots)
        keys, where = np.unique(np.stack([self._place[on], sold]), axis=1, return_inverse=True)
        need = np.zeros(keys.shape[1], dtype=np.int64)
        np.add.at(need, where.ravel(), self._owner.needs(slots, self._ask.quantity))
        size = self._regions.size[self._ask.quantity]
        holds, asked = self._holds[keys[0]], self._holds[0]
        return room_stacked(holds, size, need, keys[1].tolist(), asked, self._ask.sold, self._owner.stacking)


def _all_of(body: Body, quantity: int) -> Steps:
    """What is claimed of a body and of those below it, over all classes."""
    found = [steps for (q, _), steps in body.within.items() if q == quantity]
    if len(found) == 1:
        return found[0]
    whole = Steps()
    for steps in found:
        whole.include(steps)
    return whole


def smallest(short: Short, need: Watts) -> Slots:
    """A set of claims that block, none of which can be spared; larger claims are named before smaller.

    The shortest blocking prefix ends in a claim that is needed; then the same again before it (the
    deletion filter by bisection, as in QuickXplain, Junker 2004).
    """
    assert short.blocks(short.slots), "what bounds the room does not"
    left = short.slots[np.argsort(-need[short.slots], kind="stable")]
    needed = left[:0]
    while not short.blocks(needed):
        low, high = 1, len(left)
        while low < high:
            middle = (low + high) // 2
            if short.blocks(np.concatenate([left[:middle], needed])):
                high = middle
            else:
                low = middle + 1
        if short.adds_up:
            return left[:low]
        needed = np.concatenate([needed, left[low - 1 : low]])
        left = left[: low - 1]
    return np.sort(needed)
