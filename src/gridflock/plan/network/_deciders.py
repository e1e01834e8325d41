"""The devices of a feeder as its loop asks them: stores by their exact answers, the rest in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.grid._network import Float
from gridflock.plan.devices import Bands
from gridflock.plan.devices._compiled import Indices
from gridflock.units import Mask, Money


@dataclass(frozen=True, slots=True, eq=False)
class Deciders:
    """Devices that answer prices, m of them over T steps.

    Attributes:
        bands: all of them, needs at a price instead of without fail.
        stores: rows with a store.
        free: rows without: each step is decided by itself.
        owed: what all needs together would cost unserved, money.
    """

    bands: Bands
    stores: Indices
    free: Indices
    owed: float

    @classmethod
    def of(cls, bands: Bands, unserved_price: float) -> Deciders:
        """Devices of band rows, their needs at a price (``softened``).

        Args:
            bands: the devices.
            unserved_price: money per kWh of a need.
        """
        store, needy = _stores(bands), _needy(bands)
        soft = softened(bands, unserved_price)
        owed = unserved_price * float(bands.x_lo_kwh[needy, -1].sum())
        return cls(soft, np.flatnonzero(store), np.flatnonzero(~store), owed)

    def best(self, price: Money) -> Float:
        """(m, T) kW that cost least at prices (m, T), money/kWh."""
        return np.asarray(self.bands.respond_rows(price)[0], dtype=np.float64)

    def nearest(self, price: Money, target: Float, pull: float) -> Float:
        """(m, T) kW of least cost with ``pull/2·(p - target)²`` added, money per kW² and step."""
        bands = self.bands
        p_kw = np.empty(target.shape)
        rows = self.stores
        p_kw[rows] = bands.nearest(price[rows], target[rows], pull, rows=rows)[0]
        rows, hours = self.free, bands.hours / pull
        wish = target[rows] + price[rows] * hours - bands.base_kw[rows]
        up = np.clip(wish - bands.cost_up[rows, None] * hours, 0.0, bands.up_kw[rows])
        down = np.clip(-wish - bands.cost_down[rows, None] * hours, 0.0, bands.down_kw[rows])
        p_kw[rows] = bands.base_kw[rows] + up - down
        return p_kw

    def cost(self, p_kw: Float) -> float:
        """Own cost of schedules, unserved needs included, money; up and down of one step net."""
        bands, change = self.bands, p_kw - self.bands.base_kw
        paid = bands.cost_up[:, None] * np.maximum(change, 0.0)
        paid += bands.cost_down[:, None] * np.maximum(-change, 0.0)
        kept = float(bands.end_value @ content(self.bands, p_kw)[:, -1])
        return float((paid @ bands.hours).sum()) - kept + self.owed


def softened(bands: Bands, unserved_price: float) -> Bands:
    """Devices whose needs yield at a price.

    A row that only charges, up to a need that stands at the end and not before, has that need at a price:
    so that it never asks more of the network than it is worth.

    Args:
        bands: the devices.
        unserved_price: money per kWh of a need.
    """
    needy = _needy(bands)
    floor = np.where(needy[:, None], np.minimum(bands.x_lo_kwh, 0.0), bands.x_lo_kwh)
    worth = np.where(needy, bands.end_value + unserved_price, bands.end_value)
    return replace(bands, x_lo_kwh=floor, end_value=worth)


def _stores(bands: Bands) -> Mask:
    """(m,) rows with a store."""
    stores: Mask = (bands.gain_up != 0.0) | (bands.gain_down != 0.0)
    return stores


def _needy(bands: Bands) -> Mask:
    """(m,) stores that only charge, up to one need that stands once they are gone."""
    floor, need = bands.x_lo_kwh, bands.x_lo_kwh[:, -1:]
    due = floor == need
    needy: Mask = (need[:, 0] > 0.0) & (bands.x_hi_kwh[:, -1] == need[:, 0]) & (bands.loss_per_hour == 0.0)
    needy &= _stores(bands) & ((floor <= 0.0) | due).all(axis=1) & ~bands.up_kw.any(axis=1)
    needy &= ~(bands.down_kw.astype(bool) & due[:, :-1]).any(axis=1)
    return needy


def missing_kwh(bands: Bands, content_kwh: Float) -> Float:
    """(m,) by how much contents (m, T + 1) leave their bands at most, kWh; 0 where they are kept."""
    inner = content_kwh[:, 1:]
    beyond = np.maximum(bands.x_lo_kwh[:, 1:] - inner, inner - bands.x_hi_kwh[:, 1:])
    missing: Float = np.maximum(beyond.max(axis=1, initial=0.0), 0.0)
    return missing


def content(bands: Bands, p_kw: Float) -> Float:
    """(m, T + 1) what is in store under schedules, kWh, from 0."""
    change = p_kw - bands.base_kw
    gain = np.where(change > 0.0, bands.gain_up[:, None], -bands.gain_down[:, None])
    moved = gain * change * bands.hours
    found = np.zeros((len(p_kw), p_kw.shape[1] + 1))
    for t, kept in enumerate(np.power(1.0 - bands.loss_per_hour[:, None], bands.hours).T):
        found[:, t + 1] = kept * found[:, t] + moved[:, t]
    return found
