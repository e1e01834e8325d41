"""Vehicles and charging points: people come and go; who leaves must have what they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gridflock.sim._devices import Column, Columns, Devices
from gridflock.units import Kw, Kwh, Mask, Seconds

FAR_S = 2**52
"""A session that never comes."""
_MARGIN_S = 900
"""A vehicle stops obeying this long before obeying would cost it its energy."""
_NEED_KWH = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """Plugged-in stays of n vehicles or charging points, at most K each, in time order.

    Attributes:
        arrive_s: (n, K); ``FAR_S`` pads.
        depart_s: (n, K).
        arrive_kwh: (n, K) content on arrival; at a charging point 0, only the session counts there.
        target_kwh: (n, K) content wanted at departure.
    """

    arrive_s: Seconds
    depart_s: Seconds
    arrive_kwh: Kwh
    target_kwh: Kwh


class Vehicles(Devices):
    """Home vehicles (V1G, V2G, V2H) and shared charging points.

    Left alone they charge at full power on arrival until the wanted energy is in. V2H can feed
    its own home only, never more than the home draws.
    """

    STATE: ClassVar[tuple[str, ...]] = ("turn", "plugged", "e_kwh", "unmet_kwh", "hopeless_kwh", "left")

    def __init__(self, plate: Columns, sessions: Sessions, both_ways: Mask, home_only: Mask) -> None:
        super().__init__(plate)
        self.sessions = sessions
        self.both_ways = both_ways
        self.home_only = home_only
        n = self.n
        self.rate_kw = -plate["p_min_kw"]
        self.turn: NDArray[np.int64] = np.zeros(n, np.int64)
        self.plugged: Mask = np.zeros(n, bool)
        self.e_kwh: Kwh = np.zeros(n)
        self.unmet_kwh: Kwh = np.zeros(n)
        self.hopeless_kwh: Kwh = np.zeros(n)
        self.left: NDArray[np.int64] = np.zeros(n, np.int64)
        self._all = np.arange(n)

    def start(self, now_s: int) -> None:
        """Begin a day: who came earlier has charged at full power since."""
        sessions = self.sessions
        self.turn = np.sum(sessions.depart_s <= now_s, axis=1)
        self.plugged = self._now(sessions.arrive_s) <= now_s
        since_h = np.where(self.plugged, now_s - self._now(sessions.arrive_s), 0) / 3600
        gained = since_h * self.rate_kw * self.plate["eff_charge"]
        target = self._now(sessions.target_kwh)
        self.e_kwh = np.where(self.plugged, np.minimum(self._now(sessions.arrive_kwh) + gained, target), 0.0)

    def _now(self, table: NDArray[np.generic]) -> Column:
        """The current or next session's entry of each row (n,)."""
        return table[self._all, self.turn]

    @property
    def target_kwh(self) -> Kwh:
        """Wanted at departure (n,); NaN while away."""
        return np.where(self.plugged, self._now(self.sessions.target_kwh), np.nan)

    @property
    def depart_s(self) -> Column:
        """Moment of leaving (n,); NaN while away."""
        return np.where(self.plugged, self._now(self.sessions.depart_s).astype(np.float64), np.nan)

    @property
    def obeys(self) -> Mask:
        """Plugged in and able to do something (n,): who only charges and has enough is done."""
        lack = self._now(self.sessions.target_kwh) - self.e_kwh > _NEED_KWH
        return self.plugged & (lack | self.both_ways)

    def step(self, now_s: int, hours: float, ask_kw: Kw, home_kw: Kw) -> None:
        """Hold over ``hours`` from ``now_s``, then let people come and go.

        Args:
            now_s: start of the step.
            hours: length of the step.
            ask_kw: (n,) asked power, NaN for none.
            home_kw: (n,) injection of the rest of the home, demand negative.
        """
        plate = self.plate
        target = self._now(self.sessions.target_kwh)
        lack = np.maximum(target - self.e_kwh, 0.0)
        wants = self.plugged & (lack > _NEED_KWH)
        fill = -np.minimum(self.rate_kw, lack / plate["eff_charge"] / hours)
        self.own_kw = np.where(wants, fill, 0.0)

        brim = np.where(self.both_ways, plate["e_max_kwh"], target)
        room = np.maximum(brim - self.e_kwh, 0.0)
        low = -np.minimum(self.rate_kw, room / plate["eff_charge"] / hours)
        above = np.maximum(self.e_kwh - plate["e_reserve_kwh"], 0.0) * self.both_ways
        high = np.minimum(plate["p_max_kw"], above * plate["eff_discharge"] / hours)
        high = np.where(self.home_only, np.minimum(high, np.maximum(-home_kw, 0.0)), high)

        floor = plate["p_floor_kw"]
        level = np.where((ask_kw < 0) & (ask_kw > -floor), np.where(ask_kw < -floor / 2, -floor, 0.0), ask_kw)
        need_s = lack / (self.rate_kw * plate["eff_charge"]) * 3600
        slack_s = self._now(self.sessions.depart_s) - now_s - hours * 3600 - need_s
        must = (wants & (slack_s < _MARGIN_S)) | np.isnan(ask_kw)
        # Discharging costs slack twice: the hour passes and the need grows.
        high = np.where(slack_s < 2 * _MARGIN_S, 0.0, high)
        self.p_kw = np.where(must, self.own_kw, np.clip(level, low, high)) * self.plugged

        charge = np.maximum(-self.p_kw, 0.0) * plate["eff_charge"]
        discharge = np.maximum(self.p_kw, 0.0) / plate["eff_discharge"]
        self.e_kwh = np.clip(self.e_kwh + (charge - discharge) * hours, 0.0, plate["e_max_kwh"])
        self._come_and_go(now_s + round(hours * 3600))

    def _come_and_go(self, now_s: int) -> None:
        sessions = self.sessions
        leaving = self.plugged & (self._now(sessions.depart_s) <= now_s)
        if leaving.any():
            self._settle(leaving)
        arriving = ~self.plugged & (self._now(sessions.arrive_s) <= now_s)
        if arriving.any():
            self.plugged |= arriving
            self.e_kwh = np.where(arriving, self._now(sessions.arrive_kwh), self.e_kwh)

    def _settle(self, leaving: Mask) -> None:
        """Book what the leaving lack, and how much of it no order could have given."""
        sessions, plate = self.sessions, self.plate
        target = self._now(sessions.target_kwh)
        lack = np.where(leaving, np.maximum(target - self.e_kwh, 0.0), 0.0)
        stay_h = (self._now(sessions.depart_s) - self._now(sessions.arrive_s)) / 3600
        best = self._now(sessions.arrive_kwh) + stay_h * self.rate_kw * plate["eff_charge"]
        self.unmet_kwh = self.unmet_kwh + lack
        self.hopeless_kwh = self.hopeless_kwh + np.minimum(lack, np.maximum(target - best, 0.0))
        self.left = self.left + leaving
        self.plugged = self.plugged & ~leaving
        self.e_kwh = np.where(leaving, 0.0, self.e_kwh)
        self.turn = self.turn + leaving

    def owed_by_each(self) -> Kwh:
        """Energy each still wants (n,); 0 while away."""
        lack: Kwh = np.maximum(self._now(self.sessions.target_kwh) - self.e_kwh, 0.0) * self.plugged
        return lack

    def owed_kwh(self) -> float:
        """Energy the plugged-in still want."""
        return float(self.owed_by_each().sum())

    def energy_kwh(self) -> Column:
        """Content (n,); at a charging point what the session has received; NaN while away."""
        return np.where(self.plugged, self.e_kwh, np.nan)
