"""The settings of inverters as the one law the lanes evaluate (see ``lanes.Inverters``)."""

from __future__ import annotations

import numpy as np

from gridflock.grid.lanes import Inverters as LaneInverters
from gridflock.grid.series._curves import (
    BISECTIONS,
    FULL_REACTIVE_FROM,
    NO_REACTIVE_BELOW,
    REQUIRED_ABSORB,
    REQUIRED_INJECT,
    Curves,
    Float,
    Priority,
    ReactiveMode,
    along,
    watt_var_points,
)
from gridflock.units import Rows

NO_LIMIT = 1e6
"""Parts of a rating that no power reaches."""
ALL = 2.0
"""Parts of the rating: all reactive power goes before active power."""


def table(c: Curves, start: Rows, port: Rows) -> LaneInverters:
    """Settings as one law.

    Args:
        c: settings of D inverters.
        start: (D+1,) first entry of each in ``port``.
        port: (C,) ports they stand at.
    """
    p_rated, charge = c.p_kw / c.s_kva, c.p_charge_kw / c.s_kva
    least = np.where(charge > 0, -charge, -NO_LIMIT)
    ratio = np.sqrt(1.0 - c.power_factor**2) / c.power_factor * np.where(c.absorbing, -1.0, 1.0)
    factor, by_watt = c.mode == ReactiveMode.POWER_FACTOR, c.mode == ReactiveMode.WATT_VAR
    most = c.q_inject_kvar / c.s_kva, c.q_absorb_kvar / c.s_kva
    first = _factor_reach(c, *most), _factor_reach(c, *most[::-1])
    second = _watt_var_reach(c)
    active = c.priority == Priority.ACTIVE
    corner, value = _curve(c)
    width, rise = np.diff(corner, axis=1), np.diff(value, axis=1)
    slope = np.divide(rise, width, out=np.zeros_like(rise), where=width > 0.0)
    limits = c.vw_p_pu * np.where(c.vw_p_pu < 0, charge[:, None], p_rated[:, None])
    fall = np.diff(limits, axis=1)[:, 0] / np.diff(c.vw_v_pu, axis=1)[:, 0]
    return LaneInverters(
        start=start,
        port=port,
        kva=c.s_kva,
        p_low=least,
        p_high=p_rated,
        watt_from=c.vw_v_pu[:, 0],
        watt_to=c.vw_v_pu[:, 1],
        watt_p=np.where(c.volt_watt, limits[:, 0], NO_LIMIT),
        watt_slope=np.where(c.volt_watt, fall, 0.0),
        first_low=np.where(factor, -first[1], -NO_LIMIT),
        first_high=np.where(factor, first[0], NO_LIMIT),
        second_low=np.where(by_watt, -second[1], -NO_LIMIT),
        second_high=np.where(by_watt, second[0], NO_LIMIT),
        none_below=NO_REACTIVE_BELOW * p_rated,
        full_from=FULL_REACTIVE_FROM * p_rated,
        steady=c.steady.astype(np.float64),
        absorb=most[1],
        inject=most[0],
        keep_absorb=np.where(active, np.take(REQUIRED_ABSORB, c.category), ALL),
        keep_inject=np.where(active, REQUIRED_INJECT, ALL),
        by_v=(c.mode == ReactiveMode.VOLT_VAR).astype(np.float64),
        by_p=by_watt.astype(np.float64),
        ratio=np.where(factor, ratio, 0.0),
        q0=value[:, 0],
        corner=corner[:, :-1],
        width=width,
        slope=slope,
    )


def _factor_reach(c: Curves, injecting: Float, absorbing: Float) -> Float:
    """(D,) most active power at a set power factor, where reactive power of the two signs has these limits.

    Both powers shrink together at the rating, unless the reactive limit is met first.
    """
    sine = np.sqrt(1.0 - c.power_factor**2)
    limit = np.where(c.absorbing, absorbing, injecting)
    reach: Float = np.where(sine <= limit, c.power_factor, np.sqrt(np.maximum(1.0 - limit**2, 0.0)))
    return reach


def _curve(c: Curves) -> tuple[Float, Float]:
    """(D, k) corners of the curves and reactive powers there, in parts of the rating; flat ones repeat."""
    corner, value = c.vv_v_pu, c.vv_q_pu
    if (c.mode == ReactiveMode.WATT_VAR).any():
        own = (c.mode == ReactiveMode.WATT_VAR)[:, None]
        more = ((0, 0), (0, 3))
        x, y = watt_var_points(c)
        corner = np.where(own, x, np.pad(corner, more, mode="edge"))
        value = np.where(own, y, np.pad(value, more, mode="edge"))
    follows = np.isin(c.mode, (ReactiveMode.VOLT_VAR, ReactiveMode.WATT_VAR))
    held = np.where(c.mode == ReactiveMode.CONSTANT, c.q_pu, 0.0)
    return corner, np.where(follows[:, None], value, held[:, None])


def _watt_var_reach(c: Curves) -> tuple[Float, Float]:
    """(D,) active power, injecting and absorbing, at which the watt-var curve meets the rating."""
    x, y = watt_var_points(c)
    found = []
    for sign in (1.0, -1.0):
        low, high = np.zeros(c.n), np.ones(c.n)
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            holds = middle**2 + along(sign * middle, x, y) ** 2 <= 1.0
            low, high = np.where(holds, middle, low), np.where(holds, high, middle)
        found.append(low)
    return found[0], found[1]
