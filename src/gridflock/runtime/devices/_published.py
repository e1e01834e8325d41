"""What a running system lets the devices behind its server know beside orders, tick by tick."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypedDict

import numpy as np

from gridflock.field.ieee2030_5._field import UtilityField, Wants
from gridflock.field.ieee2030_5._granting import Room
from gridflock.field.ieee2030_5._limiting import Ahead, Held
from gridflock.field.ieee2030_5._placing import Curve, Grouped
from gridflock.field.ieee2030_5._pricing import Prices
from gridflock.fleet import Groups
from gridflock.runtime._loop import Moment
from gridflock.runtime._planning import Planned
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._system import System
from gridflock.runtime._views import Fault
from gridflock.runtime.devices._allocated import ahead, rated, tightened
from gridflock.runtime.devices._places import MAY_BE_GIVEN, grouped, unfit
from gridflock.runtime.devices._worth import priced, room

_LOG = logging.getLogger(__name__)
_QUARTER_S = 900
_UNTOLD, _NOWHERE = "nothing told ahead", "curves of groups that are not there"
"""Causes of troubles."""


class _Worth(TypedDict):
    prices: Prices | None
    room: Room | None


@dataclass(frozen=True, slots=True)
class Publishes:
    """What devices are told beside orders.

    Attributes:
        envelopes: limits over the hours to come; False leaves devices what they would do by themselves.
        horizon_s: how far ahead.
        export_kw: what a connection point may deliver without contact; inf = whatever it would.
        import_kw: what it may draw without contact.
        fallback: the same by resource, where it is another.
        curves: group to the curves that its devices follow by default.
        prices: the plan's prices, as the tariff of all devices.
        currency: of prices, ISO 4217 by number.
        randomize_s: devices shift the start of prices by chance, up to so many seconds either way.
        reservations: vehicles and stores may ask for energy, and are granted it from the plan's room.
        settings_hold: what devices say of their settings narrows what they are asked.
    """

    envelopes: bool = True
    horizon_s: int = 4 * 3_600
    export_kw: float = math.inf
    import_kw: float = math.inf
    fallback: Mapping[str, Held] = field(default_factory=dict)
    curves: Mapping[str, tuple[Curve, ...]] = field(default_factory=dict)
    prices: bool = True
    currency: int = 978
    randomize_s: int = 0
    reservations: bool = True
    settings_hold: bool = False

    def held(self, name: str) -> Held | None:
        """What holds for a resource without contact; None where nothing is said."""
        if name in self.fallback:
            return self.fallback[name]
        if math.isinf(self.export_kw) and math.isinf(self.import_kw):
            return None
        return Held(-self.import_kw, self.export_kw, at_point=True)


class Publishing:
    """Tells a field what is to come, after every tick; what has not changed is not told again.

    Limits that become tighter are told at once; those that become wider, with the next quarter of an hour.
    What fails lasts as a trouble of the ticks until something is told again, and so do curves of a group that
    is there no more.

    Args:
        field: the devices.
        system: the newest, whenever it is asked for.
        what: is told.

    Raises:
        RequestRejected: it names resources or groups that are not there, or curves that nobody may be given.
    """

    def __init__(self, field: UtilityField, system: Callable[[], System], what: Publishes) -> None:
        _refuse_wrong(what, system())
        self._field, self._system, self._what = field, system, what
        self._wants = Wants(settings_hold=what.settings_hold)
        self._planned: Planned | None = None
        self._present: frozenset[str] = frozenset()
        self._worth: tuple[Prices | None, Room | None] = (None, None)
        self._groups: tuple[Groups | None, frozenset[str], tuple[Grouped, ...]] = (None, frozenset(), ())
        self._limits: tuple[tuple[int, int, frozenset[str]], Ahead | None] = ((-1, -1, frozenset()), None)

    def __call__(self, moment: Moment) -> None:
        """Tell what follows from a tick."""
        try:
            self._tell(moment)
            self._field.troubles[_UNTOLD] = ""
        except Exception as error:  # noqa: BLE001 - what devices are told ahead must not stop the ticks
            self._field.troubles[_UNTOLD] = f"{type(error).__name__}: {error}"
            _LOG.exception(_UNTOLD)

    def _tell(self, moment: Moment) -> None:
        system, names = self._system(), self._field.present
        fallback = {name: held for name in sorted(names) if (held := self._what.held(name)) is not None}
        wants = replace(
            self._wants,
            groups=self._grouped(system, names),
            limits=self._limited(moment, system, names),
            fallback=self._wants.fallback if fallback == self._wants.fallback else fallback,
            **self._priced(moment, system, names),
        )
        if any(getattr(wants, name) is not getattr(self._wants, name) for name in Wants.__slots__):
            self._wants = wants
            self._field.want(wants)

    def _priced(self, moment: Moment, system: System, names: frozenset[str]) -> _Worth:
        """Prices and room of the plan in force; those of the last plan where there is none."""
        planned, what = moment.planned, self._what
        if planned is not None and (planned is not self._planned or names != self._present):
            self._planned, self._present = planned, names
            prices = priced(planned, moment.now_s, what.currency, what.randomize_s) if what.prices else None
            free = room(planned, system, names, moment.now_s) if what.reservations else None
            self._worth = prices, free
        return {"prices": self._worth[0], "room": self._worth[1]}

    def _grouped(self, system: System, names: frozenset[str]) -> tuple[Grouped, ...]:
        known, of, found = self._groups
        if known is not system.groups or of != names:
            found = grouped(system, names, self._what.curves)
            strange = set(self._what.curves) - _groups(self._what, system)
            self._field.troubles[_NOWHERE] = ", ".join(sorted(strange))
            self._groups = system.groups, names, found
        return found

    def _limited(self, moment: Moment, system: System, names: frozenset[str]) -> Ahead | None:
        if not self._what.envelopes or not names:
            return None
        made_s = -1 if moment.schedule is None else moment.schedule.made_at_s
        of = (moment.now_s // _QUARTER_S, made_s, names)
        now = ahead(moment, system, tuple(names), self._what.horizon_s)
        known = self._limits[1]
        if self._limits[0] == of and known is not None:
            now = tightened(known, now, *rated(system, known.ids))
        if known is not None and _same(known, now):
            return known
        self._limits = of, now
        return now


def _refuse_wrong(what: Publishes, system: System) -> None:
    """Refuse what names nobody, and curves outside the guard's bounds, whoever wrote them.

    Raises:
        RequestRejected: with every fault.
    """
    groups = _groups(what, system)
    faults = [
        Fault(f"fallback.{name}", "a resource of the fleet", "no such resource")
        for name in what.fallback
        if name not in system.fleet.row_of
    ]
    faults += [
        Fault(f"curves.{name}", f"one of {', '.join(sorted(groups))}", "no such group")
        for name in what.curves
        if name not in groups
    ]
    faults += [
        Fault(f"curves.{name}.{wrong.field}", MAY_BE_GIVEN, wrong.reason)
        for name, curves in what.curves.items()
        for wrong in unfit(name, curves)
    ]
    if faults:
        raise RequestRejected(tuple(faults))


def _groups(what: Publishes, system: System) -> set[str]:
    """Groups that may have curves, where any are told."""
    return {group.name for group in grouped(system, system.fleet.ids)} if what.curves else set()


def _same(one: Ahead, other: Ahead) -> bool:
    return (
        one.ids == other.ids
        and np.array_equal(one.edges_s, other.edges_s)
        and np.array_equal(one.p_lo_kw, other.p_lo_kw)
        and np.array_equal(one.p_hi_kw, other.p_hi_kw)
    )
