"""Devices and network in turn until they agree: consensus ADMM, anchored again and again in exact AC.

Every device keeps to its own set, every row of the network to its limit; between them stand the ports. With x
the power asked of each device, ``X`` the ports' sums and w the rows' values, one pass is (Boyd et al.,
"Distributed Optimization and Statistical Learning via ADMM", 2011, ch. 3.4.3 and 7)::

    p <- nearest schedule to x - u,   w <- nearest kept value to A·X - s          (over-relaxed)
    x <- least ½Σ(x - p - u)² + ½Σ weight·(A·X - w - s)²,   s <- s + w - A·X,   u = -Aᵀ·weight·s

All devices of a port get the same change, so that the step of the ports is one product with the rows'
matrix, one with an inverse made once, and one with the transposed matrix, for all steps of the day together.
After some passes AC is solved at the devices' schedules, which they can always do, and the rows go on from
its exact values. ``y = -pull·weight·s`` is what a row's kW is worth, ``pull·u`` what the network pays a port.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gridflock.grid._network import Float
from gridflock.grid._topology import NEUTRAL
from gridflock.grid._wiring import MAGNETIC
from gridflock.plan.network._columns import Columns
from gridflock.plan.network._deciders import Deciders
from gridflock.plan.network._derivatives import Derivatives, Matrix
from gridflock.plan.network._exact import Exact, Points
from gridflock.plan.network._feeder import Feeder
from gridflock.plan.network._movement import Dispatch, possible
from gridflock.plan.network._rows import (
    Index,
    Sides,
    Slopes,
    System,
    Watched,
    sides,
    slopes,
    system,
    watched,
)
from gridflock.plan.network._verdict import I_COUNTS, V_COUNTS_PU, Limits
from gridflock.units import Mask, Money, Rows

NEAR_PU, NEAR = 0.004, 0.15
"""A row that comes so near to its limit pulls with its full weight."""
SEEN_PU, SEEN = 0.02, 0.5
"""A row that does not come so near takes no part."""
CANDIDATE = 0.4
"""Branches loaded less than this in the first plan and without devices are looked at when they break."""
FIRST_PART = 0.25
"""Of the plan by price alone, which is far from any that can be: derivatives there lead nowhere."""
WARM_PULL = 1.0
"""Money per kW² and step by which a device keeps to what an earlier horizon asked of it."""
SMALLER, LEAST = 0.5, 0.1
"""A step without AC solution is made smaller by this, and left without devices where it has no other."""
NOTHING = 1e-6
"""Money per kW and step below which a dual is none."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the loop goes.

    Attributes:
        pull: money per kW² and step between what is asked of a device and what it does: first the cost is
            found, then agreement.
        firmer: by what it grows from round to round.
        firm_from: first round in which it does.
        most_pull: how large it gets.
        relax: over-relaxation.
        near: weight of rows near their limits.
        far: of the others: as heavy, every idle row would be a brake.
        passes: between two solutions of AC.
        linearise: rounds in which derivatives are taken anew.
        weigh: every so many rounds the rows in force are chosen anew.
        aside_pu: kept inside a voltage limit.
        aside: kept inside a current limit, part of it.
        patience: rounds before a row that stays broken is put further inside.
        most_aside_pu: how far at most.
        most_aside: of currents.
        most_price: money per kW and step that a row's limit is worth at most.
    """

    pull: float = 0.01
    firmer: float = 1.6
    firm_from: int = 4
    most_pull: float = 0.1
    relax: float = 1.6
    near: float = 0.3
    far: float = 0.03
    passes: int = 12
    linearise: tuple[int, ...] = (0, 2, 6, 14)
    weigh: int = 3
    aside_pu: float = 2e-4
    aside: float = 2e-3
    patience: int = 3
    most_aside_pu: float = 1e-3
    most_aside: float = 4e-3
    most_price: float = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """What is to be planned.

    Attributes:
        feeder: with its device ports.
        exact: its power flow.
        limits: what every step has to keep.
        deciders: the devices.
        columns: where they stand.
        price: (m, T) worth of a kWh injected, money/kWh.
    """

    feeder: Feeder
    exact: Exact
    limits: Limits
    deciders: Deciders
    columns: Columns
    price: Money

    def points(self, of: Dispatch, *, sure: bool = True) -> Points:
        """AC of all steps; ``sure`` as in ``Exact.points``."""
        columns = self.columns
        p_kw, q_kvar = np.asarray(columns.sums @ of.p_kw), columns.spread_kvar(of.q_kvar)
        return self.exact.points(p_kw, q_kvar, sure=sure)

    def value(self, p_kw: Float) -> float:
        """Own cost less what is earned, money."""
        return self.deciders.cost(p_kw) - float(((self.price * p_kw) @ self.deciders.bands.hours).sum())


@dataclass(slots=True, eq=False)
class Duals:
    """What the loop knows of watched limits and keeps from round to round; (r, T) and (b, T).

    Attributes:
        volts: money per kW and step.
        amps: (2, b, T) in phase and in quadrature.
        aside_pu: how much further inside a voltage is put.
        aside: a current, part of its limit.
    """

    volts: Float
    amps: Float
    aside_pu: Float
    aside: Float

    @classmethod
    def none(cls, r: int, b: int, steps: int) -> Duals:
        """Nothing known."""
        return cls(*(np.zeros(shape) for shape in ((r, steps), (2, b, steps), (r, steps), (b, steps))))

    def regrown(self, r: int, b: int, volts: Index, amps: Index) -> Duals:
        """The same for more limits; ``volts`` and ``amps`` say where the old ones now stand."""
        grown = Duals.none(r, b, self.volts.shape[1])
        grown.volts[volts], grown.aside_pu[volts] = self.volts, self.aside_pu
        grown.amps[:, amps], grown.aside[amps] = self.amps, self.aside
        return grown

    def gathered(self, of: Slopes) -> None:
        """Put duals onto the rows that now stand for theirs."""
        volts, amps = np.zeros_like(self.volts), np.zeros_like(self.amps)
        np.add.at(volts, of.like_v, self.volts)
        np.add.at(amps.transpose(1, 0, 2), of.like_i, self.amps.transpose(1, 0, 2))
        self.volts, self.amps = volts, amps


_NOTHING_WATCHED = Watched(
    np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64), *(np.zeros((0, 0)) for _ in range(3))
)


@dataclass(frozen=True, slots=True, eq=False)
class Warm:
    """What a loop hands on to the next horizon of the same feeder and devices.

    Attributes:
        asked: what was asked of the devices.
        nodes: (r,) nodes that were looked at.
        at: (b,) rows of ``Exact.conductors``.
        volts: (r, T) duals.
        amps: (2, b, T) duals.
    """

    asked: Dispatch
    nodes: Rows
    at: Index
    volts: Float
    amps: Float

    def later(self, steps: int) -> Warm:
        """The same for a horizon that begins so many steps later; its end goes on as a day before."""
        return Warm(
            Dispatch(np.roll(self.asked.p_kw, -steps, axis=1), np.roll(self.asked.q_kvar, -steps, axis=1)),
            self.nodes,
            self.at,
            np.roll(self.volts, -steps, axis=1),
            np.roll(self.amps, -steps, axis=2),
        )


@dataclass(slots=True, eq=False)
class Loop:
    """The loop over one day; ``turn`` is one round.

    Attributes:
        day: what is planned.
        settings: how.
        plan: what the devices do now: always possible for them.
        points: its AC.
        near: the plan, or a part of the first one; made smaller in steps where that has no AC solution.
        near_points: AC of that; of the unloaded feeder where a step has none even without devices.
        asked: (m, T) and (d, T) what is asked of them.
        watched: limits that are looked at.
        duals: what is known of them.
        slopes: their sensitivities.
        sides: how far they may move from the anchor.
        system: the rows in force.
        anchor: float32 (C, T) columns of the anchor.
        s: float32 (R, T) scaled duals.
        mean_s: float32 (R, T) their mean over the last passes: nearer to the best than any of them.
        pull: of the last round.
        round: how many there were.
        since: round from which the pull's growth counts.
    """

    day: Day
    settings: Settings
    plan: Dispatch
    points: Points
    asked: Dispatch
    watched: Watched
    duals: Duals
    near: Dispatch = field(init=False)
    near_points: Points = field(init=False)
    slopes: Slopes = field(init=False)
    sides: Sides = field(init=False)
    system: System = field(init=False)
    anchor: Matrix = field(init=False)
    s: Matrix = field(init=False)
    mean_s: Matrix = field(init=False)
    pull: float = field(init=False)
    round: int = 0
    since: int = 0

    @classmethod
    def begun(
        cls, day: Day, settings: Settings, without: Points, plan: Dispatch, warm: Warm | None = None
    ) -> Loop:
        """The loop at a first plan, or where an earlier one ended."""
        exact, net = day.exact, day.feeder.network
        ends = np.unique(net.load_nodes[net.topology.port_live])
        nodes = ends[(ends >= 0) & (np.append(net.node_phase, NEUTRAL)[ends] < NEUTRAL)].astype(np.int32)
        asked, at = plan, np.zeros(0, dtype=np.int64)
        if warm is not None:
            asked = warm.asked
            plan = Dispatch(day.deciders.nearest(day.price, asked.p_kw, WARM_PULL), asked.q_kvar)
            nodes, at = np.union1d(nodes, warm.nodes).astype(np.int32), warm.at
        loop = cls(day, settings, plan, without, asked, _NOTHING_WATCHED, Duals.none(0, 0, day.feeder.steps))
        loop.take(plan, FIRST_PART if warm is None else 1.0)
        most = day.limits.most_a[:, exact.conductors]
        loading = np.fmax(np.abs(loop.near_points.amps), np.abs(without.amps)) / most
        at = np.union1d(at, np.flatnonzero((loading.max(axis=0) > CANDIDATE) & one_of_two(day)))
        loop.watched = watched(nodes, at, exact, day.limits)
        loop.duals = Duals.none(len(nodes), len(at), day.feeder.steps)
        if warm is not None:
            loop.duals.volts[np.searchsorted(nodes, warm.nodes)] = warm.volts
            loop.duals.amps[:, np.searchsorted(at, warm.at)] = warm.amps
            loop.since = -settings.firm_from
        return loop

    def warm(self) -> Warm:
        """What the next horizon may begin with."""
        kept, duals = self.watched, self.duals
        return Warm(self.asked, kept.nodes, kept.at, duals.volts.copy(), duals.amps.copy())

    def broken(self) -> tuple[int, int, int]:
        """How many voltages and currents break their limits, and how many steps have no AC solution."""
        volts, amps = self.beyond()
        solved = self.points.solved
        beyond = int((volts[solved] > V_COUNTS_PU).sum()), int((amps[solved] > I_COUNTS).sum())
        return (*beyond, int((~solved).sum()))

    def worst(self) -> Float:
        """(T,) each step's worst violation, pu or part of a limit; infinite where it has no AC solution."""
        volts, amps = self.beyond()
        over = np.where(amps > I_COUNTS, amps, 0.0).max(axis=1, initial=0.0)
        worst: Float = np.maximum(over, np.where(volts > V_COUNTS_PU, volts, 0.0).max(axis=1, initial=0.0))
        return worst

    def turn(self) -> None:
        """One round: anchor, some passes, AC."""
        settings = self.settings
        firm = settings.firmer ** max(0, self.round - self.since - settings.firm_from)
        self.pull = min(settings.pull * firm, max(settings.pull, settings.most_pull))
        if self.round in settings.linearise:
            self.linearise()
        self.anchor_here()
        if self.round in settings.linearise or self.round % settings.weigh == 0:
            self.weigh()
        self.passes(settings.passes)
        self.take(self.plan)
        self.round += 1

    def take(self, plan: Dispatch, part: float = 1.0) -> None:
        """Go on from a plan, as far as devices can do it: from its AC, or that of what has a solution.

        Args:
            plan: of the devices.
            part: how much of it the loop is anchored at; less than all where it is far from what can be.
        """
        day, sure = self.day, part == 1.0
        plan = possible(day.deciders.bands, day.columns, plan)
        self.plan, self.points = plan, day.points(plan, sure=sure)
        parts = np.full(day.feeder.steps, part)
        near, points = (plan, self.points) if sure else self._made_smaller(parts)
        while (~points.solved & (parts > 0.0)).any():
            parts = np.where(points.solved, parts, np.where(parts > LEAST, SMALLER * parts, 0.0))
            near, points = self._made_smaller(parts)
        self.near, self.near_points = near, day.exact.or_idle(points)

    def _made_smaller(self, parts: Float) -> tuple[Dispatch, Points]:
        """Parts (T,) of the plan, with their AC."""
        near = Dispatch(parts * self.plan.p_kw, parts * self.plan.q_kvar)
        return near, self.day.points(near)

    def stand(self) -> None:
        """Rows and their prices, all 0, where the first plan is the last."""
        self.pull = self.settings.pull
        self.linearise()
        self.anchor_here()
        self.weigh()
        self.s = self.mean_s = self._scaled()

    # ---- between the rounds ------------------------------------------------------------------------

    def linearise(self) -> None:
        """Take in limits that broke, and derivatives at the day's mean."""
        day, columns = self.day, self.day.columns
        if self.round:
            self._take_in()
        powers = day.feeder.powers(self._sums(self.near.p_kw), columns.spread_kvar(self.near.q_kvar))
        at = Derivatives(day.feeder, powers.mean(axis=0))
        self.slopes = slopes(at, self.watched, day.exact, columns.active, columns.reactive)
        self.duals.gathered(self.slopes)

    def _take_in(self) -> None:
        old = self.watched
        volts, amps = self.beyond()
        nodes = np.union1d(old.nodes, np.flatnonzero((volts > V_COUNTS_PU).any(axis=0))).astype(np.int32)
        broken = (amps > I_COUNTS).any(axis=0) & one_of_two(self.day)
        at = np.union1d(old.at, np.flatnonzero(broken))
        self.watched = watched(nodes, at, self.day.exact, self.day.limits)
        places = np.searchsorted(nodes, old.nodes), np.searchsorted(at, old.at)
        self.duals = self.duals.regrown(len(nodes), len(at), *places)

    def beyond(self) -> tuple[Float, Float]:
        """(T, n) pu and (T, c) parts by which limits are broken; negative where they hold."""
        limits, exact, points = self.day.limits, self.day.exact, self.points
        size = np.abs(points.v) / self.day.feeder.network.v_base
        volts = np.maximum(limits.v_low_pu - size, size - limits.v_high_pu)
        amps = np.abs(points.amps) / limits.most_a[:, exact.conductors] - 1.0
        return np.nan_to_num(volts, nan=np.inf), np.nan_to_num(amps, nan=np.inf)

    def anchor_here(self, *, aside: bool = True) -> None:
        """Rows go on from exact values at the devices' plan; inside their limits, or at them (``aside``)."""
        day, kept, duals, settings = self.day, self.watched, self.duals, self.settings
        volts, amps = kept.values(day.feeder.network, day.exact, self.near_points)
        if aside and self.round >= settings.patience:
            beyond = np.maximum(kept.low - volts, volts - kept.high)
            duals.aside_pu = _put_aside(duals.aside_pu, beyond, V_COUNTS_PU, settings.most_aside_pu)
            beyond = np.hypot(amps[0], amps[1]) - 1.0
            duals.aside = _put_aside(duals.aside, beyond, I_COUNTS, settings.most_aside)
        off = float(aside)
        inside = off * (settings.aside_pu + duals.aside_pu)
        low, high = kept.low + inside - volts, kept.high - inside - volts
        middle = 0.5 * (low + high)
        radius = 1.0 - off * (settings.aside + duals.aside)
        self.sides = sides(self.slopes, np.minimum(low, middle), np.maximum(high, middle), amps, radius)
        self.anchor = self._columns(self.near)

    def weigh(self) -> None:
        """Choose the rows in force."""
        found, of, duals = self.sides, self.slopes, self.duals
        gap_v = (np.minimum(found.high, -found.low) * of.size_v[:, None]).min(axis=1)
        inside = found.radius - np.hypot(found.place[0], found.place[1])
        gap_i = (inside * np.abs(of.size_i)[:, None]).min(axis=1)
        near_v = (gap_v < NEAR_PU) | (duals.volts != 0.0).any(axis=1)
        near_i = (gap_i < NEAR) | (duals.amps != 0.0).any(axis=(0, 2))
        volts = np.flatnonzero(_leads(of.like_v) & (near_v | (gap_v < SEEN_PU)))
        amps = np.flatnonzero(_leads(of.like_i) & (near_i | (gap_i < SEEN)))
        near, far = self.settings.near, self.settings.far
        weight = np.where(near_v[volts], near, far), np.where(near_i[amps], near, far)
        self.system = system(of, volts, amps, weight, self.day.columns.agents)

    # ---- passes ------------------------------------------------------------------------------------

    def passes(self, count: int) -> None:
        """Devices, rows and ports in turn, with no new anchor."""
        day, rows, relax = self.day, self.system, self.settings.relax
        pull, place = np.float32(self.pull), self.day.columns.port
        k, agents = day.columns.ports, day.columns.agents[:, None].astype(np.float32)
        s = self._scaled()
        u, x, xq = rows.prices(s), self.asked.p_kw, self.asked.q_kvar
        start = self._start()
        ax = start + rows.a @ (self._columns(self.asked) - self.anchor)
        keep, mean = self._keeper(), np.zeros_like(s)
        for _ in range(count):
            p_kw = day.deciders.nearest(day.price, x - u[:k][place], float(pull))
            room = day.columns.reactive_room(p_kw)
            q_kvar = np.clip(xq - u[k:], -room, room)
            p_over, q_over = relax * p_kw + (1.0 - relax) * x, relax * q_kvar + (1.0 - relax) * xq
            wanted = np.float32(relax) * keep(ax - s) + np.float32(1.0 - relax) * ax
            free = self._columns(Dispatch(p_over, q_over)) + agents * u
            missed = start + rows.a @ (free - self.anchor) - wanted - s
            left, u_new = rows.step(missed.astype(np.float32, copy=False))
            ax, s = wanted + s + left, -left
            change, u = u - u_new, u_new
            x, xq = p_over + change[:k][place], q_over + change[k:]
            mean += s / np.float32(count)
        self.plan, self.asked = Dispatch(p_kw, q_kvar), Dispatch(x, xq)
        self.s, self.mean_s = s, mean
        self._remember()

    def _start(self) -> Matrix:
        """(R, T) rows at the anchor: voltages count from it, currents from nothing."""
        rows, found = self.system, self.sides
        still = np.zeros((len(rows.volts), found.low.shape[1]))
        start: Matrix = np.concatenate([still, found.place[0, rows.amps], found.place[1, rows.amps]]).astype(
            np.float32
        )
        return start

    def _scaled(self) -> Matrix:
        """(R, T) scaled duals of the rows in force."""
        rows, duals = self.system, self.duals
        y = np.concatenate([duals.volts[rows.volts], duals.amps[0, rows.amps], duals.amps[1, rows.amps]])
        scaled: Matrix = (-y / (self.pull * rows.weight[:, None])).astype(np.float32)
        return scaled

    def _remember(self) -> None:
        """Duals of the rows in force, back to the limits they stand for."""
        rows, duals = self.system, self.duals
        r, b = len(rows.volts), len(rows.amps)
        y = -self.pull * rows.weight[:, None] * self.s
        y[np.abs(y) < NOTHING] = 0.0
        duals.volts[:], duals.amps[:] = 0.0, 0.0
        duals.volts[rows.volts] = y[:r]
        duals.amps[0, rows.amps], duals.amps[1, rows.amps] = y[r : r + b], y[r + b :]

    def _keeper(self) -> _Keeper:
        rows, found = self.system, self.sides
        most = self.settings.most_price / (self.pull * rows.weight[:, None])
        return _Keeper(
            found.low[rows.volts].astype(np.float32),
            found.high[rows.volts].astype(np.float32),
            found.radius[rows.amps].astype(np.float32),
            most.astype(np.float32),
        )

    def _sums(self, p_kw: Float) -> Float:
        sums: Float = np.asarray(self.day.columns.sums @ p_kw)
        return sums

    def _columns(self, of: Dispatch) -> Matrix:
        """float32 (C, T) columns of a dispatch."""
        columns: Matrix = np.concatenate([self._sums(of.p_kw), of.q_kvar]).astype(np.float32)
        return columns


@dataclass(frozen=True, slots=True, eq=False)
class _Keeper:
    """Nearest kept values of rows: boxes and discs, each left where it would cost more than it may."""

    low: Matrix
    high: Matrix
    radius: Matrix
    most: Matrix

    def __call__(self, value: Matrix) -> Matrix:
        r, b = len(self.low), len(self.radius)
        kept = np.empty_like(value)
        beyond = value[:r] - np.clip(value[:r], self.low, self.high)
        kept[:r] = value[:r] - np.clip(beyond, -self.most[:r], self.most[:r])
        size = np.hypot(value[r : r + b], value[r + b :])
        out = np.clip(size - self.radius, 0.0, self.most[r : r + b])
        part = 1.0 - out / np.maximum(size, np.float32(1e-12))
        kept[r : r + b], kept[r + b :] = value[r : r + b] * part, value[r + b :] * part
        return kept


def _put_aside(aside: Float, beyond: Float, counts: float, most: float) -> Float:
    """What stays broken is put further inside by half of it; else what was put aside comes back by halves."""
    further: Float = np.where(beyond > counts, np.minimum(aside + 0.5 * beyond, most), 0.5 * aside)
    return further


def _leads(like: Index) -> Mask:
    leads: Mask = like == np.arange(len(like))
    return leads


def one_of_two(day: Day) -> Mask:
    """(c,) limited conductors of which a line's two ends are looked at once."""
    net, conductors = day.feeder.network, day.exact.conductors
    wound = np.array([kind in MAGNETIC for kind in net.branch_kind], dtype=np.bool_)
    blocks = net.branch_blocks
    looked: Mask = (blocks.end[conductors] == 0) | wound[blocks.owner[conductors]]
    return looked
