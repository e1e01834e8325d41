"""Thermostats and water heaters by the thousand: one leaky store to plan with, on/off loads to run.

A load's content is the energy at its meter above the cold edge of its comfort band (below the warm edge
for cooling). It leaks in proportion to itself, and holding the edge takes a need of its own:
``dx/dt = draw - need - loss·x``. Loads that are all equally full are together exactly one such store; the
priority stack, which switches the emptiest on and the fullest off, keeps them so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Rejected
from gridflock.plan.devices._band import Bands
from gridflock.plan.devices._compiled import Array
from gridflock.plan.devices._refusal import broken, misshapen
from gridflock.units import Codes, Kw, Kwh, Money

WATER_KWH = 1.163e-3
"""Heat of a litre of water and a kelvin, kWh."""
MARGIN = 0.1
"""Part of the comfort band at either edge that a plan leaves to uneven loads."""


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """n on/off loads over T steps, each with a store that leaks.

    Attributes:
        p_on_kw: float64 (n,) power while on, < 0.
        band_kwh: float64 (n,) width of the comfort band as energy at the meter, > 0.
        e_now_kwh: float64 (n,) content now, 0 at the edge where it must run.
        loss_per_h: float64 (n,) share of the content that leaks, per hour and at each moment, >= 0.
        need_kw: float64 (n, T) power at the meter that holds the edge, >= 0; < 0 where it fills by itself.
        min_on_s: (n,) shortest time on.
        min_off_s: (n,) shortest time off.
        on: uint8 (n,) 1 where it is on now.
        locked_s: (n,) seconds until each may switch again; NaN where unknown.
    """

    p_on_kw: Kw
    band_kwh: Kwh
    e_now_kwh: Kwh
    loss_per_h: Array
    need_kw: Kw
    min_on_s: NDArray[Any]
    min_off_s: NDArray[Any]
    on: Codes
    locked_s: NDArray[Any]

    @classmethod
    def thermostats(
        cls,
        *,
        cools: NDArray[np.bool_],
        capacity_kwh_k: Array,
        loss_kw_k: Array,
        cop: Array,
        low_c: Array,
        high_c: Array,
        now_c: Array,
        outside_c: Array,
        gain_kw: Array,
        p_on_kw: Kw,
        min_on_s: NDArray[Any],
        min_off_s: NDArray[Any],
        on: Codes,
        locked_s: NDArray[Any],
    ) -> Self:
        """Rooms that are heated or cooled: one heat capacity behind one conductance.

        Args:
            cools: (n,) where it cools; else it heats.
            capacity_kwh_k: (n,) heat capacity, kWh/K, > 0.
            loss_kw_k: (n,) conductance to the outside, kW/K.
            cop: (n,) heat moved per energy drawn, > 0.
            low_c: (n,) lower edge of the comfort band, °C.
            high_c: (n,) upper edge.
            now_c: (n,) temperature now.
            outside_c: (T,) or (n, T) outside.
            gain_kw: (T,) or (n, T) heat from sun and people.
            p_on_kw: (n,) power while on, < 0.
            min_on_s: (n,) shortest time on.
            min_off_s: (n,) shortest time off.
            on: (n,) 1 where it is on.
            locked_s: (n,) seconds until each may switch again; NaN where unknown.
        """
        side = np.where(cools, -1.0, 1.0)
        edge = np.where(cools, high_c, low_c)
        leaves = side[:, None] * (loss_kw_k[:, None] * (edge[:, None] - outside_c) - gain_kw)
        return cls(
            p_on_kw=p_on_kw,
            band_kwh=capacity_kwh_k * (high_c - low_c) / cop,
            e_now_kwh=side * capacity_kwh_k * (now_c - edge) / cop,
            loss_per_h=loss_kw_k / capacity_kwh_k,
            need_kw=leaves / cop[:, None],
            min_on_s=min_on_s,
            min_off_s=min_off_s,
            on=on,
            locked_s=locked_s,
        )

    @classmethod
    def water_heaters(
        cls,
        *,
        litres: Array,
        loss_kw_k: Array,
        low_c: Array,
        high_c: Array,
        now_c: Array,
        room_c: Array,
        inlet_c: Array,
        drawn_l_h: Array,
        p_on_kw: Kw,
        min_on_s: NDArray[Any],
        min_off_s: NDArray[Any],
        on: Codes,
        locked_s: NDArray[Any],
    ) -> Self:
        """Mixed tanks with an element; what is drawn is mixed down to the lower edge, so its heat is given.

        Args:
            litres: (n,) content of the tank, > 0.
            loss_kw_k: (n,) conductance to the room, kW/K.
            low_c: (n,) lowest temperature allowed, °C.
            high_c: (n,) highest.
            now_c: (n,) now.
            room_c: (T,) or (n, T) around the tank.
            inlet_c: (T,) or (n, T) of the water that comes in.
            drawn_l_h: (n, T) litres drawn per hour, at the lower edge's temperature.
            p_on_kw: (n,) power while on, < 0.
            min_on_s: (n,) shortest time on.
            min_off_s: (n,) shortest time off.
            on: (n,) 1 where it is on.
            locked_s: (n,) seconds until each may switch again; NaN where unknown.
        """
        capacity, low = WATER_KWH * litres, low_c[:, None]
        return cls(
            p_on_kw=p_on_kw,
            band_kwh=capacity * (high_c - low_c),
            e_now_kwh=capacity * (now_c - low_c),
            loss_per_h=loss_kw_k / capacity,
            need_kw=loss_kw_k[:, None] * (low - room_c) + WATER_KWH * drawn_l_h * (low - inlet_c),
            min_on_s=min_on_s,
            min_off_s=min_off_s,
            on=on,
            locked_s=locked_s,
        )

    def rejected(self, names: Sequence[str]) -> tuple[Rejected, ...]:
        """What of the columns breaks a rule, by field and load; ``names`` are n ids."""
        n, finite = len(names), ("p_on_kw", "band_kwh", "e_now_kwh", "loss_per_h", "need_kw")
        wanted = dict.fromkeys((*finite[:-1], "min_on_s", "min_off_s", "on", "locked_s"), (n,))
        rules = [
            ("p_on_kw", "must be below 0: a load", self.p_on_kw < 0.0),
            ("band_kwh", "must be above 0: highest above lowest", self.band_kwh > 0.0),
            ("loss_per_h", "must not be below 0", self.loss_per_h >= 0.0),
            ("min_on_s", "must not be below 0", self.min_on_s >= 0),
            ("min_off_s", "must not be below 0", self.min_off_s >= 0),
            ("on", "must be 0 or 1", self.on <= 1),
        ]
        rules += [(field, "must be finite", np.isfinite(getattr(self, field))) for field in finite]
        steps = np.shape(self.need_kw)[-1]
        return misshapen(self, wanted | {"need_kw": (n, steps)}) or broken(names, rules)

    @property
    def rounding_kw(self) -> float:
        """Most by which whole loads miss a target when nothing else holds them back: half the largest."""
        return 0.5 * float(np.max(-self.p_on_kw, initial=0.0))

    def after(self, content_kwh: Kwh, drawn_kw: Kw, step: int, hours: float) -> Kwh:
        """(n,) contents after some hours of a step at a constant draw; exact.

        Args:
            content_kwh: (n,) contents before.
            drawn_kw: (n,) draw, >= 0.
            step: which of the T steps' needs holds.
            hours: how long.
        """
        keep, fill = keeping(self.loss_per_h, hours)
        content: Kwh = keep * content_kwh + fill * (drawn_kw - self.need_kw[:, step])
        return content


def keeping(loss_per_h: Array, hours: float) -> tuple[Array, Array]:
    """Part of a content that is left after some hours, and content per kW drawn all the while, h."""
    gone = -np.expm1(-loss_per_h * hours)
    leaks = loss_per_h > 1e-9
    return 1.0 - gone, np.where(leaks, gone / np.where(leaks, loss_per_h, 1.0), hours)


def leaky_bands(
    populations: Sequence[Population],
    hours: Array,
    *,
    margin: float = MARGIN,
    cost: Money | float = 0.0,
    end_value: Money | float = 0.0,
) -> Bands:
    """The rows a plan has for some populations: each one leaky store, moving from what it holds now.

    At rest (neither up nor down) a row holds its content; where all its loads together cannot, or where it
    fills by itself, its band moves by what it must. For steps of unequal length the loss is exact, the gain
    that of the mean step.

    Args:
        populations: m of them.
        hours: float64 (T,) length of each step.
        margin: part of the comfort band at either edge left to uneven loads.
        cost: money per kWh drawn earlier or later than at rest, one for all or (m,).
        end_value: money per kWh in store at the end, one for all or (m,).
    """
    m = len(populations)
    rows = [_row(each, hours, margin) for each in populations]
    names = ("base_kw", "up_kw", "down_kw", "x_lo_kwh", "x_hi_kwh")
    columns: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in names}
    gain = np.array([row["gain"] for row in rows])
    dear = np.broadcast_to(np.asarray(cost, dtype=np.float64), m)
    return Bands(
        hours=hours,
        start=np.arange(m + 1),
        **columns,
        gain_up=-gain,
        gain_down=gain,
        cost_up=dear,
        cost_down=dear,
        end_value=np.broadcast_to(np.asarray(end_value, dtype=np.float64), m),
        loss_per_hour=np.array([row["loss"] for row in rows]),
    )


def _row(of: Population, hours: Array, margin: float) -> dict[str, Any]:
    """One population as one store, in the columns of ``Bands``."""
    band, content = float(of.band_kwh.sum()), float(of.e_now_kwh.sum())
    keep, fill = keeping(of.loss_per_h, float(hours.mean()))
    # Equally full loads: draw = need + sum(band/fill)·full_after - sum(keep·band/fill)·full_before.
    weight = of.band_kwh / fill
    kept, gain = float((keep * weight).sum() / weight.sum()), band / float(weight.sum()) / hours.mean()
    loss = 1.0 - kept ** (1.0 / hours.mean())
    keeps = (1.0 - loss) ** hours
    hold = of.need_kw.sum(axis=0) + (1.0 - keeps) * content / (gain * hours)
    rated = -float(of.p_on_kw.sum())
    drawn = np.clip(hold, 0.0, rated)
    moves = np.zeros(len(hours) + 1)
    for t in range(len(hours)):
        moves[t + 1] = keeps[t] * moves[t] + gain * hours[t] * (drawn[t] - hold[t])
    return {
        "base_kw": -drawn,
        "up_kw": drawn,
        "down_kw": rated - drawn,
        "x_lo_kwh": margin * band - content - moves,
        "x_hi_kwh": (1.0 - margin) * band - content - moves,
        "gain": gain,
        "loss": loss,
    }
