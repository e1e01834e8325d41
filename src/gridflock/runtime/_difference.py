"""Two policies over the same time, compared: what the feeder did, and what it would have done.

The one is what was measured. The other is reckoned: who follows the other's order instead of the one it
had is taken to do just that, within what it can do; who has none is taken to do what it does unasked; and
the feeder is solved again. What a store would then hold is not carried on, so the answer is good for
hours and only a hint for days.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch import Response
from gridflock.fleet import Image, capability
from gridflock.grid import Flow, Violations, solve, violations
from gridflock.market import prices, tariffs
from gridflock.model import Json
from gridflock.runtime._deciding import Seen
from gridflock.runtime._settings import Settings
from gridflock.runtime._system import System
from gridflock.schema import Kind
from gridflock.units import HOUR_S, Kw, TimeGrid, iso

_SHOWN = 20
_SERIES = 1_500
"""So many moments of the day are kept for a picture; of more, every second one."""
_MOVED_KW = 0.01


@dataclass(slots=True)
class Side:
    """One policy's time, summed up.

    Attributes:
        import_kwh: drawn at the head.
        export_kwh: delivered there.
        peak_kw: largest import of a tick.
        losses_kwh: in the feeder.
        energy_cost: of import less export at the settings' tariff, money.
        broken_h: broken limits times hours, in the estimate.
        v_min_pu: lowest voltage; NaN before anything was seen.
        v_max_pu: highest.
        orders: sent, or what would have been.
        asked_kwh: (n,) by how much each resource was asked off what it does unasked, either way.
        orders_of: (n,) orders to each.
    """

    asked_kwh: NDArray[np.float64]
    orders_of: NDArray[np.int64]
    import_kwh: float = 0.0
    export_kwh: float = 0.0
    peak_kw: float = 0.0
    losses_kwh: float = 0.0
    energy_cost: float = 0.0
    broken_h: float = 0.0
    v_min_pu: float = np.nan
    v_max_pu: float = np.nan
    orders: int = 0

    def count(self, flow: Flow, broken: Violations, hours: float, price: tuple[float, float]) -> None:
        """Take one tick of the feeder in."""
        head_kw = float(flow.head_kva.real.sum())
        drawn, given = max(-head_kw, 0.0), max(head_kw, 0.0)
        self.import_kwh += drawn * hours
        self.export_kwh += given * hours
        self.peak_kw = max(self.peak_kw, drawn)
        self.losses_kwh += flow.losses_kw * hours
        self.energy_cost += (drawn * price[0] - given * price[1]) * hours
        self.broken_h += len(broken.kind) * hours
        self.v_min_pu = float(np.fmin(self.v_min_pu, np.nanmin(flow.v_pu)))
        self.v_max_pu = float(np.fmax(self.v_max_pu, np.nanmax(flow.v_pu)))

    def ask(self, response: Response, image: Image, hours: float) -> None:
        """Take in what was in force over the time before a tick."""
        off = np.asarray(response.ordered_kw, dtype=np.float64) - _unasked(image)
        self.asked_kwh += np.abs(np.nan_to_num(off)) * hours

    def send(self, rows: NDArray[np.integer]) -> None:
        """Take in who is sent an order."""
        self.orders += len(rows)
        self.orders_of[rows] += 1


@dataclass(frozen=True, slots=True)
class KindMoved:
    """What both policies asked of a kind of resource."""

    kind: str
    resources: int
    orders: int
    other_orders: int
    asked_kwh: float
    other_asked_kwh: float


@dataclass(frozen=True, slots=True)
class ResourceMoved:
    """A resource of which the policies asked different things."""

    id: str
    asked_kwh: float
    other_asked_kwh: float


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of the policy in force and of the other one."""

    figure: str
    live: float | None
    other: float | None


@dataclass(frozen=True, slots=True)
class DifferenceView:
    """Two policies over the same ticks.

    Attributes:
        start: first moment.
        end: last moment.
        ticks: how many.
        changes: settings in which the other differs, with its values.
        figures: by name; energy in kWh, power in kW, money at the settings' tariff.
        kinds: who was asked what.
        resources: those of whom different things were asked, most different first.
        t: moments of the curves.
        head_kw: net injection at the head, as estimated.
        other_head_kw: the same under the other policy, as reckoned.
    """

    start: str
    end: str
    ticks: int
    changes: dict[str, Json]
    figures: list[Compared]
    kinds: list[KindMoved]
    resources: list[ResourceMoved]
    t: list[str]
    head_kw: list[float]
    other_head_kw: list[float]


@dataclass(slots=True)
class Difference:
    """The account of both, tick by tick.

    Attributes:
        system: whose resources.
        settings: of the policy in force; prices are of its tariff.
        changes: in which the other differs.
    """

    system: System
    settings: Settings
    changes: Mapping[str, Json]
    live: Side = field(init=False)
    other: Side = field(init=False)
    ticks: int = 0
    start_s: int = 0
    end_s: int = 0
    _series: list[tuple[int, float, float]] = field(default_factory=list)
    _every: int = 1

    def __post_init__(self) -> None:
        """Nothing has happened yet."""
        n = len(self.system.fleet.ids)
        self.live = Side(np.zeros(n), np.zeros(n, dtype=np.int64))
        self.other = Side(np.zeros(n), np.zeros(n, dtype=np.int64))

    def count(self, seen: Seen, before: tuple[Response, Response]) -> None:
        """Take one tick in.

        Args:
            seen: as both see it.
            before: the policy's and the other's conversation over the time before it.
        """
        now_s, network = seen.image.now_s, self.system.network
        last_s = self.end_s or now_s - self.settings.tick_s
        hours = max(0, now_s - last_s) / HOUR_S
        flow, broken = seen.flow, seen.violations
        moved_kw = would_do(seen.image, *before) - np.nan_to_num(seen.image.p_kw.astype(np.float64))
        price = self._price(now_s)
        self.live.count(flow, broken, hours, price)
        if (np.abs(moved_kw) > _MOVED_KW).any():
            injected = self.system.places.spread @ moved_kw[self.system.places.der_rows]
            flow = solve(network, flow.load_kva, flow.inject_kva + injected, seen.state, flow)
            broken = violations(network, flow)
        self.other.count(flow, broken, hours, price)
        for side, response in zip((self.live, self.other), before, strict=True):
            side.ask(response, seen.image, hours)
        self._note(now_s, float(seen.flow.head_kva.real.sum()), float(flow.head_kva.real.sum()))
        self.start_s, self.end_s, self.ticks = self.start_s or now_s, now_s, self.ticks + 1

    def view(self) -> DifferenceView:
        """As people look at it."""
        t_s, live, other = zip(*self._series, strict=True) if self._series else ((), (), ())
        return DifferenceView(
            iso(self.start_s),
            iso(self.end_s),
            self.ticks,
            dict(self.changes),
            self._figures(),
            self._kinds(),
            self._resources(),
            [iso(t) for t in t_s],
            [round(kw, 2) for kw in live],
            [round(kw, 2) for kw in other],
        )

    def _figures(self) -> list[Compared]:
        found = [
            Compared(name, _rounded(getattr(self.live, name)), _rounded(getattr(self.other, name)))
            for name in _FIGURES
        ]
        peak = self.settings.peak_price
        cost = Compared(
            "cost",
            _rounded(self.live.energy_cost + peak * self.live.peak_kw),
            _rounded(self.other.energy_cost + peak * self.other.peak_kw),
        )
        return [*found, cost]

    def _kinds(self) -> list[KindMoved]:
        kind = self.system.fleet.columns["kind"]
        found = []
        for code in np.unique(kind[self.system.places.der_rows]):
            mine = kind == code
            row = KindMoved(
                Kind(int(code)).name.lower(),
                int(mine.sum()),
                int(self.live.orders_of[mine].sum()),
                int(self.other.orders_of[mine].sum()),
                round(float(self.live.asked_kwh[mine].sum()), 3),
                round(float(self.other.asked_kwh[mine].sum()), 3),
            )
            found.append(row)
        return found

    def _resources(self) -> list[ResourceMoved]:
        gap = np.abs(self.live.asked_kwh - self.other.asked_kwh)
        order = np.argsort(-gap, kind="stable")[:_SHOWN]
        ids = self.system.fleet.ids
        return [
            ResourceMoved(
                ids[row],
                round(float(self.live.asked_kwh[row]), 3),
                round(float(self.other.asked_kwh[row]), 3),
            )
            for row in order.tolist()
            if gap[row] > 1e-3
        ]

    def _price(self, now_s: int) -> tuple[float, float]:
        """Money per kWh drawn and delivered now."""
        zone = self.system.network.timezone
        buy, sell = prices(tariffs(zone)[self.settings.tariff], TimeGrid.uniform(now_s, 1, 1))
        return float(buy[0]), float(sell[0])

    def _note(self, now_s: int, live_kw: float, other_kw: float) -> None:
        if self.ticks % self._every == 0:
            self._series.append((now_s, live_kw, other_kw))
        if len(self._series) > _SERIES:
            self._series, self._every = self._series[::2], 2 * self._every


_FIGURES = (
    "import_kwh",
    "export_kwh",
    "peak_kw",
    "losses_kwh",
    "energy_cost",
    "broken_h",
    "v_min_pu",
    "v_max_pu",
    "orders",
)


def would_do(image: Image, live: Response, other: Response) -> Kw:
    """(n,) what resources would do under the other policy's orders instead of the ones they had, kW.

    Args:
        image: what they do, under the orders of ``live``.
        live: the conversation over the time before the image.
        other: the other's.
    """
    able = capability(image)
    now_kw = np.nan_to_num(image.p_kw.astype(np.float64))
    asked, instead = (np.asarray(r.ordered_kw, dtype=np.float64) for r in (live, other))
    listens = live.willing(image.now_s) & (image.ready == 1)
    differs = ~(np.abs(np.nan_to_num(asked) - np.nan_to_num(instead)) <= _MOVED_KW)
    differs |= np.isnan(asked) != np.isnan(instead)
    told = np.clip(instead, able.p_lo_kw, able.p_hi_kw)
    alone = np.where(np.isfinite(asked) & np.isnan(instead), _unasked(image), now_kw)
    would = np.where(np.isfinite(told), told, alone)
    kw: Kw = np.where(listens & differs, would, now_kw)
    return kw


def _unasked(image: Image) -> Kw:
    """(n,) what resources would do unasked; what they do where that is not known."""
    alone = image.p_avail_kw.astype(np.float64)
    kw: Kw = np.where(np.isfinite(alone), alone, np.nan_to_num(image.p_kw.astype(np.float64)))
    return kw


def _rounded(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
