"""A whole system as one device of another utility's server: from above its group looks like one resource."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from gridflock.field.ieee2030_5._map import Plate, ordered_kw
from gridflock.field.ieee2030_5.events import Standing
from gridflock.field.ieee2030_5.resources import DERControlBase, MirrorMeterReading
from gridflock.runtime._access import Scope
from gridflock.runtime._derms import Derms
from gridflock.runtime._life import UnknownName
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime.devices._plants import Simulated
from gridflock.schema import Kind

_NEVER_S = 2**62
_LEAST_MINUTES, _LONGEST_MINUTES = 1.0, 1_440.0
_LEAST_KW = 1e-6
"""Power that is told apart; a thousandth of a watt is noise of the way it was computed."""
_LONGEST_S = int(60 * _LONGEST_MINUTES)
_KILO = 1_000.0
_WHY = "ordered by the utility above"
_ENDED = "the utility above has taken it back, or it is over"
_HANDLED = frozenset({
    "op_mod_fixed_w", "op_mod_target_w", "op_mod_storage_target_w", "op_mod_max_lim_w", "op_mod_gen_lim_w",
    "op_mod_exp_lim_w", "op_mod_load_lim_w", "op_mod_imp_lim_w",
})  # fmt: skip
_SETPOINTS = ("op_mod_fixed_w", "op_mod_target_w", "op_mod_storage_target_w")


class StandsFor(Simulated):
    """A group of a running system, as what is behind a client of the server above.

    What is ordered from above becomes a proposal of the scope's account on the group, so that authority,
    guard and ledger stand before it as before anybody's; what is not taken is refused in the response, and
    what a second person has to agree to is not said to have started before. Reported are the group's sums as
    of the last tick.

    What it proposed in a former life of the system is taken back with the first order of this one, whether
    in force or waiting; until its server was heard it stands to its own end. A group that is gone takes no
    orders and has no readings.

    Args:
        derms: the running system, after its first tick.
        scope: whose authority orders from above have here.
        group: what is offered to them: a group, or a resource.

    Raises:
        UnknownName: there is no such group.
    """

    def __init__(self, derms: Derms, scope: Scope, group: str) -> None:
        self._derms, self._scope, self._group = derms, scope, group
        self._standing, self._waiting = (
            [wish.id for wish in wishes if (wish.group, wish.author, wish.why) == (group, scope.user, _WHY)]
            for wishes in (derms.proposals(scope), derms.guard(scope).waiting)
        )
        self._proposed: DERControlBase | None = None
        self._ends_s = self._renews_s = _NEVER_S
        self._rows = np.empty(0, dtype=np.int64)
        self._ids: tuple[str, ...] = ()
        self._row_of: dict[str, int] = {}
        self._found_at, self._there = derms.moment, True
        super().__init__(self._find(), Kind.BATTERY_COMMERCIAL)

    def readings(self, now_s: int) -> list[MirrorMeterReading]:
        """The group's sums."""
        self._look()
        return super().readings(now_s)

    def obey(self, standing: Standing, now_s: int) -> frozenset[str]:
        """Propose what stands; modes that no group can be told are refused."""
        self._look()
        if not self._there:
            return frozenset(standing.by_mode)
        until_s = _NEVER_S if standing.until_s is None else standing.until_s
        longer = now_s >= self._renews_s and until_s > self._ends_s
        if standing.base != self._proposed or longer or now_s >= self._ends_s:
            self.cannot = self._propose(standing, now_s)
            self._proposed = standing.base
            self._ends_s = min(until_s, now_s + _LONGEST_S)
            # What is to stand longer is made anew well before it ends; a second person is not asked early.
            self._renews_s = self._ends_s if self._waiting else (now_s + self._ends_s) // 2
        return frozenset(standing.by_mode) - _HANDLED | self.cannot

    def _propose(self, standing: Standing, now_s: int) -> frozenset[str]:
        """Take the former proposal back and make the new one; the modes that were refused."""
        self._take_back()
        said = frozenset(standing.by_mode) & _HANDLED
        target_kw, low_kw, high_kw = self._wanted(standing.base)
        if target_kw is low_kw is high_kw is None:
            return frozenset()
        until_s = now_s + 60 * _LONGEST_MINUTES if standing.until_s is None else standing.until_s
        minutes = min(max((until_s - now_s) / 60.0, _LEAST_MINUTES), _LONGEST_MINUTES)
        try:
            answer = self._derms.propose(
                self._scope,
                self._group,
                p_kw=target_kw,
                p_lo_kw=low_kw,
                p_hi_kw=high_kw,
                minutes=minutes,
                why=_WHY,
            )
        except RequestRejected:
            return said
        self._standing = [answer.proposal.id]
        self._waiting = [answer.proposal.id] if answer.waits else []
        return frozenset()

    def waits(self) -> bool:
        """Whether a second person has still to agree to what was proposed."""
        if self._waiting:
            agreed = {wish.id for wish in self._derms.proposals(self._scope)}
            self._waiting = [each for each in self._waiting if each not in agreed]
        return bool(self._waiting)

    def _take_back(self) -> None:
        """End what was proposed, whether it is in force or waits."""
        for each in dict.fromkeys((*self._standing, *self._waiting)):
            with contextlib.suppress(UnknownName):  # it may have run out
                self._derms.withdraw(self._scope, each)
        for each in self._waiting:
            with contextlib.suppress(UnknownName):  # somebody has decided meanwhile
                self._derms.refuse(self._scope, each, why=_ENDED)
        self._standing, self._waiting = [], []

    def _wanted(self, base: DERControlBase) -> tuple[float | None, float | None, float | None]:
        """Set-point, lowest and highest power, kW; None where nothing binds the group."""
        if any(getattr(base, mode) is not None for mode in _SETPOINTS):
            return self._drawn(base, self.seen.get("p_kw", 0.0)), None, None
        lowest, highest = self._drawn(base, -math.inf), self._drawn(base, math.inf)
        # Above, the group is known by its ratings on the wire, which are rounded down: they bind nobody.
        least_kw = max(self.plate.p_min_kw, -self.able.w_charge / _KILO)
        most_kw = min(self.plate.p_max_kw, self.able.w_max / _KILO)
        return (
            None,
            lowest if lowest > least_kw + _LEAST_KW else None,
            highest if highest < most_kw - _LEAST_KW else None,
        )

    def _drawn(self, base: DERControlBase, own_kw: float) -> float:
        """Where limits and set-points leave a group that would go to ``own_kw``, kW."""
        held_kw, _ = ordered_kw(base, own_kw, self.plate, self.able)
        return own_kw if math.isnan(held_kw) else held_kw

    def _find(self) -> Plate:
        """The group's members in the newest image, and what they come to together."""
        image = self._derms.moment.image
        if image.ids is not self._ids:
            self._ids, self._row_of = image.ids, {name: row for row, name in enumerate(image.ids)}
        row_of = self._row_of
        members = self._derms.resources(self._scope, self._group, len(row_of))
        self._rows = np.array([row_of[each.id] for each in members], dtype=np.int64)
        high, low, stored = (
            float(np.asarray(image.columns[name], dtype=np.float64)[self._rows].sum())
            for name in ("p_max_kw", "p_min_kw", "e_max_kwh")
        )
        return Plate(self._group, high, low, e_max_kwh=stored)

    def _look(self) -> None:
        """Take the group's sums from the newest tick: what it does, and what it could give."""
        moment = self._derms.moment
        image = moment.image
        if moment is not self._found_at:  # groups and members may change at every tick
            self._found_at = moment
            try:
                found = self._find()
            except UnknownName:
                found, self._rows = self.plate, self._rows[:0]
            self._there = self._rows.size > 0
            if found != self.plate or not self._there:
                self.plate, self._proposed = found, None
        if not self._there:
            self.seen = {"ready": 0.0}
            return
        p_kw = np.asarray(image.p_kw, dtype=np.float64)[self._rows]
        most_kw = np.asarray(moment.able.p_hi_kw, dtype=np.float64)[self._rows]
        self.seen = {"ready": 1.0, "p_kw": float(np.nansum(p_kw)), "p_avail_kw": float(np.nansum(most_kw))}
        if self.plate.e_max_kwh > 0:
            self.seen["e_kwh"] = float(np.nansum(np.asarray(image.e_kwh, dtype=np.float64)[self._rows]))
