"""Bad input to a feeder's day, named as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._network import Float
from gridflock.model import Flexibility, Rejected
from gridflock.plan.network._columns import Q_SHARE
from gridflock.plan.network._feeder import Feeder
from gridflock.plan.network._verdict import Limits
from gridflock.units import Kw, Money, Rows

_PER_STEP = ("base_kw", "up_kw", "down_kw")
_PER_EDGE = ("x_lo_kwh", "x_hi_kwh")
_PER_ROW = ("gain_up", "gain_down", "cost_up", "cost_down")
SHOWN = 5
_Names = NDArray[np.object_]
_NOBODY: _Names = np.empty(0, dtype=object)


@dataclass(frozen=True, slots=True, eq=False)
class Devices:
    """Who stands at a feeder's device ports: m devices over T steps.

    Attributes:
        flexibility: one row for each.
        port: (m,) device port of each.
        s_kva: (m,) apparent-power rating of its inverter; 0 where it gives no reactive power.
        q_share: part of the rating that reactive power may take.
        end_value: money per kWh in store at the end.
        unserved_price: money per kWh of a need that is not served; more than any price it may be worth to
            serve it at.
    """

    flexibility: Flexibility
    port: Rows
    s_kva: Float
    q_share: float = Q_SHARE
    end_value: float = 0.0
    unserved_price: float = 2.0


class DayRejected(ValueError):  # noqa: N818 it carries `Rejected` values and is named after them
    """Input from which no day can be planned.

    Attributes:
        rejected: all faults found.
    """

    def __init__(self, rejected: Sequence[Rejected]) -> None:
        self.rejected = tuple(rejected)
        lines = [f"{one.field} {', '.join(one.ids)}: {one.reason}" for one in self.rejected]
        super().__init__("\n".join([f"day refused, {len(lines)} faults", *lines]))


def check_day(
    feeder: Feeder, devices: Devices, price: Money, limits: Limits, p_kw: Kw | None = None
) -> tuple[Rejected, ...]:
    """Everything in the input of a feeder's day that breaks a rule; empty when all is well.

    Args:
        feeder: with its device ports and the day's loads.
        devices: who stands there.
        price: (T,) or (m, T) money/kWh.
        limits: what is to be kept.
        p_kw: (m, T) a plan made elsewhere, if there is one.
    """
    if found := _misshapen(feeder, devices, price, limits, p_kw):
        return found
    names = np.array(devices.flexibility.groups, dtype=object)
    asked = ((name, getattr(limits, name)) for name in ("v_low_pu", "v_high_pu", "most_a"))
    return (
        *_devices(feeder, devices),
        *_numbers("price", np.atleast_1d(price), _NOBODY, "must be finite, money/kWh"),
        *([] if p_kw is None else _numbers("p_kw", np.asarray(p_kw), names, "must be finite, kW")),
        *(
            Rejected("day", name, (), "must be a number, infinite where nothing is asked")
            for name, value in asked
            if np.isnan(value).any()
        ),
    )


def _misshapen(
    feeder: Feeder, devices: Devices, price: Money, limits: Limits, p_kw: Kw | None
) -> tuple[Rejected, ...]:
    rows = devices.flexibility
    steps, m, net = feeder.steps, len(rows.groups), feeder.network
    wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
        **{name: (getattr(rows, name), (m, steps)) for name in _PER_STEP},
        **{name: (getattr(rows, name), (m, steps + 1)) for name in _PER_EDGE},
        **{name: (getattr(rows, name), (m,)) for name in _PER_ROW},
        "port": (devices.port, (m,)),
        "s_kva": (devices.s_kva, (m,)),
        "v_low_pu": (limits.v_low_pu, (steps, net.n)),
        "v_high_pu": (limits.v_high_pu, (steps, net.n)),
        "most_a": (limits.most_a, (steps, len(net.branch_blocks.node))),
        **({} if p_kw is None else {"p_kw": (p_kw, (m, steps))}),
    }
    found = [
        Rejected("day", name, (), f"shape {np.shape(value)}, expected {shape}")
        for name, (value, shape) in wanted.items()
        if np.shape(value) != shape
    ]
    if rows.grid.n != steps:
        found.append(Rejected("day", "grid", (), f"{rows.grid.n} steps, the feeder's day has {steps}"))
    if np.shape(price) not in {(steps,), (m, steps)}:
        expected = f"({steps},) or ({m}, {steps})"
        found.append(Rejected("day", "price", (), f"shape {np.shape(price)}, expected {expected}"))
    if np.asarray(devices.port).dtype.kind not in "iu":
        found.append(Rejected("day", "port", (), "must be whole numbers, int32"))
    found += [
        Rejected("day", name, (), "must be finite, money/kWh")
        for name in ("end_value", "unserved_price")
        if not np.isfinite(getattr(devices, name))
    ]
    if not 0.0 <= devices.q_share <= 1.0:
        found.append(Rejected("day", "q_share", (), f"{devices.q_share} is not between 0 and 1"))
    return tuple(found)


def _devices(feeder: Feeder, devices: Devices) -> list[Rejected]:
    rows = devices.flexibility
    names = np.array(rows.groups, dtype=object)
    found = []
    for name in (*_PER_STEP, *_PER_ROW):
        found += _numbers(name, getattr(rows, name), names, "must be finite")
    rules = (
        ("port", (devices.port < 0) | (devices.port >= feeder.ports), f"not one of {feeder.ports} ports"),
        ("s_kva", ~(np.isfinite(devices.s_kva) & (devices.s_kva >= 0.0)), "must be a number from 0"),
        ("up_kw", (rows.up_kw < 0.0).any(axis=1), "must not be negative"),
        ("down_kw", (rows.down_kw < 0.0).any(axis=1), "must not be negative"),
        ("x_lo_kwh", ~(rows.x_lo_kwh <= rows.x_hi_kwh).all(axis=1), "above x_hi_kwh, or no number"),
        ("gain_up", rows.gain_up * rows.gain_down > 0.0, "must not have the sign of gain_down"),
    )
    for name, bad, reason in rules:
        if bad.any():
            found.append(_named(name, names[bad], reason))
    return found


def _numbers(field: str, value: Float, names: _Names, reason: str) -> list[Rejected]:
    """Numbers that are none, by the device they belong to."""
    bad = ~np.isfinite(value)
    if not bad.any():
        return []
    if not len(names):
        return [Rejected("day", field, (), reason, count=int(bad.sum()))]
    rows = bad.reshape(len(bad), -1).any(axis=1)
    return [_named(field, names[rows], reason)]


def _named(field: str, names: _Names, reason: str) -> Rejected:
    return Rejected("day", field, tuple(names[:SHOWN].tolist()), reason, count=len(names))
