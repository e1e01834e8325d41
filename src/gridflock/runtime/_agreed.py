"""What devices have agreed with their server: energy that they were granted, and settings that hold.

Both come in from outside, as readings do, and are told where they are new. What is granted is a promise:
while its time runs it is wanted of its resource before the plan's own wishes, and limits of the grid stand
before it. Settings narrow what the resource can do, for the plan and for every tick alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch import Response
from gridflock.fleet import Image
from gridflock.model import Entry, Priority, Proposal
from gridflock.runtime._keeping import Watched, watched
from gridflock.runtime._reserved import Granted, able_kw
from gridflock.schema import Family
from gridflock.units import Mask, iso

AUTHOR = "plan"
_ENDLESS = math.inf


@dataclass(frozen=True, slots=True)
class Setting:
    """What a device is set to, where its settings hold; without bound where it says nothing.

    Attributes:
        resource: that it is.
        p_min_kw: lowest injection, <= 0.
        p_max_kw: highest.
        s_max_kva: apparent power.
        e_min_kwh: stored energy that is held back.
        e_max_kwh: stored energy that is used.
    """

    resource: str
    p_min_kw: float = -_ENDLESS
    p_max_kw: float = _ENDLESS
    s_max_kva: float = _ENDLESS
    e_min_kwh: float = 0.0
    e_max_kwh: float = _ENDLESS


@dataclass(frozen=True, slots=True)
class Agreed:
    """What is new of what devices have agreed; None where that is as it was.

    Attributes:
        granted: everything that is granted and not over.
        settings: of all devices whose settings hold.
    """

    granted: tuple[Granted, ...] | None = None
    settings: tuple[Setting, ...] | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """What devices have agreed, as it stands.

    Attributes:
        granted: everything that is granted and not over.
        settings: of all devices whose settings hold.
        watched: how what is granted was kept to so far.
    """

    granted: tuple[Granted, ...] = ()
    settings: tuple[Setting, ...] = ()
    watched: tuple[Watched, ...] = ()

    def news(self, now: Agreed) -> Agreed:
        """What of it is new."""
        granted = None if now.granted == self.granted else now.granted
        return Agreed(granted, None if now.settings == self.settings else now.settings)

    def heard(self, news: Agreed) -> Agreement:
        """With what is new."""
        granted = self.granted if news.granted is None else news.granted
        return replace(
            self, granted=granted, settings=self.settings if news.settings is None else news.settings
        )

    def narrowed(self, image: Image, row_of: Mapping[str, int]) -> Image:
        """The image with what resources can do by their settings, never more than by the registry."""
        held = [(row_of[one.resource], one) for one in self.settings if one.resource in row_of]
        if not held:
            return image
        rows = np.array([row for row, _ in held], dtype=np.int32)
        columns = dict(image.columns)
        stores = np.isin(image.family[rows], (Family.STORAGE, Family.VEHICLE))
        orders = image.family[rows] != Family.NONE

        def told(name: str) -> NDArray[np.float64]:
            return np.array([getattr(one, name) for _, one in held], dtype=np.float64)

        def narrow(name: str, bound: NDArray[Any], which: Mask, *, lowest: bool = False) -> None:
            column = columns[name].copy()
            mine = rows[which]
            side = np.maximum if lowest else np.minimum
            column[mine] = side(column[mine], bound[which].astype(column.dtype))
            column.flags.writeable = False
            columns[name] = column

        narrow("p_max_kw", np.maximum(told("p_max_kw"), 0.0), orders)
        narrow("p_min_kw", np.minimum(told("p_min_kw"), 0.0), stores, lowest=True)
        narrow("p_floor_kw", np.maximum(told("p_max_kw"), 0.0), orders)
        narrow("s_max_kva", np.maximum(told("s_max_kva"), 0.0), orders)
        narrow("e_max_kwh", np.maximum(told("e_max_kwh"), 0.0), stores)
        narrow("e_reserve_kwh", told("e_min_kwh"), stores, lowest=True)
        narrow("e_reserve_kwh", columns["e_max_kwh"][rows], stores)
        return replace(image, columns=columns)

    def beside(
        self, wishes: Iterable[Proposal], image: Image, row_of: Mapping[str, int]
    ) -> tuple[Proposal, ...]:
        """Wishes with what is granted for now: the power, and never more; for who takes no orders nothing."""
        return (*wishes, *self._wishes(image, row_of))

    def _wishes(self, image: Image, row_of: Mapping[str, int]) -> Iterator[Proposal]:
        """One of each resource: what several grants hold at once adds up."""
        held: dict[str, list[Granted]] = {}
        for one in self.granted:
            row = row_of.get(one.resource, -1)
            if one.start_s <= image.now_s < one.end_s and row >= 0 and image.ready[row] == 1:
                held.setdefault(one.resource, []).append(one)
        for resource, grants in held.items():
            low, high = able_kw(image, row_of[resource])
            p_kw = min(max(sum(one.rate_kw for one in grants), low), high)
            told = ", ".join(f"{abs(one.e_kwh):.2f} kWh until {iso(one.end_s)}" for one in grants)
            yield Proposal(
                id="reservation:" + "+".join(one.id for one in grants),
                group=resource,
                priority=Priority.MARKET,
                author=AUTHOR,
                why=f"granted by its reservation: {told}",
                start_s=image.now_s,
                until_s=min(one.end_s for one in grants),
                p_kw=p_kw,
                p_lo_kw=p_kw if p_kw < 0 else -math.inf,
                p_hi_kw=p_kw if p_kw > 0 else math.inf,
            )

    def after(
        self, image: Image, row_of: Mapping[str, int], response: Response
    ) -> tuple[Agreement, list[Entry]]:
        """With what a tick has seen of how grants are kept to, and who is told not to."""
        found, entries = watched(self.granted, self.watched, image, row_of, response.ordered_kw)
        return replace(self, watched=found), entries
