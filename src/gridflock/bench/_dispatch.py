"""A fast tick over very many resources: from the image to orders recorded and handed to adapters."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.bench._million import NOON_S, Million, million
from gridflock.dispatch import Decision, GuardLimits, GuardState, Policy, Response, step
from gridflock.dispatch.guard import GroupLimit
from gridflock.fleet import Fleet, Image, capability
from gridflock.model import (
    Capability,
    Entry,
    Envelope,
    Json,
    Orders,
    Outcomes,
    OutcomeStatus,
    Priority,
    Proposal,
    Readings,
    Schedule,
    Shares,
)
from gridflock.ports import Record
from gridflock.record import open_record
from gridflock.schema import QUANTITY, Family
from gridflock.units import Kw, Rows, TimeGrid

FAMILIES = tuple(family for family in Family if family is not Family.NONE)
PLAN_S, PLAN_STEPS, NEW_PLAN_S = 900, 4, 120
CHANGED = 0.2
"""Part of the resources whose power is told anew in each tick."""
MOVES = 0.3
"""How far the plan moves a group from what it does, as a part of its room, at most."""
BASELINE_REPEATS = 5
SUM_KW, SUM_SHARE = 1.0, 2e-3
"""Orders in force miss a group's plan by no more, where nothing stands in the way."""
MANY = 500_000
"""From so many resources on a tick is 8 s."""
ATTEMPTED = 0.999
"""Part of the orders that answers are given to; the others stay without one."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What is dispatched.

    Attributes:
        fleet: n resources and their readings.
        world: as drawn.
        rows_of: rows of each group: a family on a feeder, a feeder, everything.
        plan: groups that the plan speaks of.
        provider: (n,) adapter of each resource.
    """

    fleet: Fleet
    world: Million
    rows_of: Mapping[str, Rows]
    plan: tuple[str, ...]
    provider: NDArray[np.integer[Any]]


def dispatch(ders: int = 100_000, ticks: int = 0, seed: int = 0) -> Mapping[str, float | int | bool | str]:
    """Measure the fast tick beside a plain split by group in NumPy in the same run.

    Every tick has new readings, outcomes of the orders before, a plan of one group per feeder and family with
    its shares by resource, an envelope per feeder, a market's wish, an event and an operator's, limits of the
    guard for every feeder, and what the guard remembers; every two minutes the plan is a new one, so that the
    slowest ticks are those that order nearly everybody anew.

    Args:
        ders: resources.
        ticks: how many; 0 for 100, and 40 from half a million resources on.
        seed: of the fleet and of everything that happens.

    Returns:
        ``p50_ms`` and ``p99_ms`` by the clock from the image to orders recorded and handed over,
        ``compute_ms`` and its ``compute_p99_ms`` of the decision alone, ``numpy_ms`` of the rival and
        ``ratio_vs_numpy`` against ``compute_ms``; ``orders`` in the mean; and ``counts``: whether every order
        was inside what its resource can do and groups that nothing holds met their plan.
    """
    many = ders >= MANY
    ticks = ticks or (40 if many else 100)
    tick_s = 8 if many else 4
    with tempfile.TemporaryDirectory(prefix="gridflock-") as folder:
        life = _Life(_case(ders, seed), open_record(Path(folder)), np.random.default_rng((seed, 3)))
        for tick in range(ticks + 1):
            life.tick(NOON_S + (tick + 1) * tick_s, tick)
        life.record.close()
    whole, compute = np.array(life.whole[1:]), np.array(life.compute[1:])
    numpy_s = life.by_numpy()
    found: dict[str, float | int | bool | str] = {
        "ders": ders,
        "groups": len(life.case.plan),
        "ticks": ticks,
        "tick_s": tick_s,
        "p50_ms": _ms(np.quantile(whole, 0.5)),
        "p99_ms": _ms(np.quantile(whole, 0.99)),
        "compute_ms": _ms(np.median(compute)),
        "compute_p99_ms": _ms(np.quantile(compute, 0.99)),
        "numpy_ms": _ms(numpy_s),
        "ratio_vs_numpy": round(numpy_s / float(np.median(compute)), 2),
        "orders": round(float(np.mean(life.orders[1:]))),
        "most_orders": max(life.orders),
    }
    return found | {"counts": not life.wrong, "why_not": "; ".join(sorted(life.wrong))}


class _Life:
    """Ticks of a case, with what each took."""

    def __init__(self, case: Case, record: Record, rng: np.random.Generator) -> None:
        self.case, self.record, self.rng = case, record, rng
        self.adapters, self.response = _Adapters(case), Response.empty(case.world.n)
        self.policy, self.guarded = Policy(guard=_limits(case)), GuardState.empty(case.world.n)
        self.image = case.fleet.image(NOON_S)
        self.schedule, self.due_s = _schedule(case, self.image, rng), NOON_S + NEW_PLAN_S
        self.whole: list[float] = []
        self.compute: list[float] = []
        self.orders: list[int] = []
        self.wrong: set[str] = set()

    def tick(self, now_s: int, number: int) -> None:
        """New readings and answers, and a new plan where it is due, before the clock runs; then the tick."""
        case, rng = self.case, self.rng
        case.fleet.ingest(_readings(case, rng, now_s), now_s)
        if now_s >= self.due_s:
            self.schedule = _schedule(case, case.fleet.image(now_s), rng)
            self.due_s += NEW_PLAN_S
        told = *_outcomes(self.adapters.last, rng, now_s), now_s
        response, guarded = self.response.heard(*told), self.guarded.heard(*told)
        wishes, limits = _wishes(case, now_s), _envelopes(case, now_s)
        begun = time.perf_counter()
        self.image = case.fleet.image(now_s)
        thought = time.perf_counter()
        decision = step(
            self.image, self.schedule, limits, wishes, case.rows_of, response, self.policy, guarded=guarded
        )
        decided = time.perf_counter()
        self.record.append([_entry(decision, number)])
        self.adapters.send(decision.orders)
        self.whole.append(time.perf_counter() - begun)
        self.compute.append(decided - thought)
        self.orders.append(len(decision.orders.index))
        self.response, self.guarded = decision.response, decision.passed.state
        self.wrong |= _faults(decision, self.image)

    def by_numpy(self) -> float:
        """Seconds of the rival on the last image."""
        return _by_numpy(self.case, self.image, self.schedule, self.image.now_s)


def _ms(seconds: float | np.floating[Any]) -> float:
    return round(1e3 * float(seconds), 2)


# ---- the case ----------------------------------------------------------------------------------------


def _case(ders: int, seed: int) -> Case:
    """Groups by feeder and family, by feeder, and of everything."""
    world = million(ders, seed)
    fleet = world.fleet()
    feeder, family = world.registry.columns["feeder"].astype(np.int64), world.registry.family
    names = world.registry.labels["feeder"]
    rows_of: dict[str, Rows] = {"all": np.flatnonzero(family != Family.NONE).astype(np.int32)}
    code = feeder * 16 + family
    order = np.argsort(code, kind="stable").astype(np.int32)
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    plan = []
    for rows in np.split(order, starts[1:]):
        at, kind = divmod(int(code[rows[0]]), 16)
        if kind != Family.NONE:
            plan.append(f"plan/{names[at]}/{Family(kind).name.lower()}")
            rows_of[plan[-1]] = np.sort(rows)
    for at, name in enumerate(names):
        rows_of[name] = np.flatnonzero((feeder == at) & (family != Family.NONE)).astype(np.int32)
    return Case(fleet, world, rows_of, tuple(plan), world.registry.columns["provider"])


def _readings(case: Case, rng: np.random.Generator, now_s: int) -> Readings:
    """Some resources tell their power anew: as before, give or take a little."""
    n = case.world.n
    rows = np.flatnonzero(rng.random(n) < CHANGED).astype(np.int32)
    before = case.world.telemetry["p_kw"][rows]
    value = np.round(before * rng.uniform(0.98, 1.02, len(rows)), 3)
    rows, value = rows[np.isfinite(value)], value[np.isfinite(value)]
    return Readings(
        case.fleet.ids, rows, np.full(len(rows), QUANTITY["p_kw"], dtype=np.uint8), value,
        np.full(len(rows), now_s, dtype=np.int64), np.zeros(len(rows), dtype=np.uint8),
    )  # fmt: skip


def _outcomes(
    orders: Orders | None, rng: np.random.Generator, now_s: int
) -> tuple[NDArray[np.int64], Outcomes]:
    """Nearly all of the last orders are accepted."""
    if orders is None:
        nothing = np.zeros(0, dtype=np.int64)
        empty = Outcomes(
            (), nothing.astype(np.int32), nothing, nothing.astype(np.uint8), nothing * 1.0, nothing
        )
        return nothing, empty
    told = np.flatnonzero(rng.random(len(orders.index)) < ATTEMPTED)
    rows = orders.index[told]
    status = np.full(len(rows), OutcomeStatus.ACCEPTED, dtype=np.uint8)
    at_s = np.full(len(rows), now_s, dtype=np.int64)
    answered = Outcomes(orders.ids, rows, orders.order_id[told], status, orders.p_kw[told], at_s)
    return rows.astype(np.int64), answered


def _schedule(case: Case, image: Image, rng: np.random.Generator) -> Schedule:
    """A plan that moves every group by a part of its room, shared by size."""
    able, present = capability(image), np.nan_to_num(image.p_kw.astype(np.float64))
    part = rng.uniform(-MOVES, MOVES, len(case.plan))
    p_kw = present.copy()
    base, planned = np.zeros((2, len(case.plan), PLAN_STEPS))
    for k, name in enumerate(case.plan):
        rows = case.rows_of[name]
        toward = able.p_hi_kw[rows] if part[k] > 0.0 else able.p_lo_kw[rows]
        p_kw[rows] += abs(part[k]) * (toward - present[rows])
        base[k], planned[k] = present[rows].sum(), p_kw[rows].sum()
    grid = TimeGrid.uniform(image.now_s - image.now_s % PLAN_S, PLAN_S, PLAN_STEPS)
    rows = case.rows_of["all"]
    shares = np.repeat(p_kw[rows, None].astype(np.float32), PLAN_STEPS, axis=1)
    none = np.zeros(PLAN_STEPS)
    return Schedule(
        grid, case.plan, planned, base, none, planned.sum(axis=0), none, float("inf"), (), 0.0, image.now_s,
        shares=Shares(rows, shares, np.full_like(shares, np.nan)),
    )  # fmt: skip


def _limits(case: Case) -> GuardLimits:
    """All that the guard looks at, so wide that it holds nothing back but first orders, which go to a few."""
    feeders = [
        GroupLimit(name, step_kw=1e6, rate_kw_s=1e6, moved_kw=1e9, reversals=1e3)
        for name in case.world.registry.labels["feeder"]
    ]
    return GuardLimits(
        step_kw=float("inf"), groups=tuple(feeders), reversals=60, budget_kw=1e9, approval_kw=1e9,
        canary_share=0.01,
    )  # fmt: skip


def _envelopes(case: Case, now_s: int) -> tuple[Envelope, ...]:
    """A limit on every feeder that its plan stays inside of, and one of the whole."""
    feeders = case.world.registry.labels["feeder"]
    wide = [Envelope(name, -1e6, 1e6, f"transformer of {name}", now_s + 60) for name in feeders]
    return (*wide, Envelope("all", -1e9, 1e9, "contract", now_s + 60))


def _wishes(case: Case, now_s: int) -> tuple[Proposal, ...]:
    """An operator's wish on one feeder, an event on another, a market's on a third."""
    found = []
    kinds = (Priority.OPERATOR, Priority.EVENT, Priority.MARKET)
    feeders = case.world.registry.labels["feeder"]
    for k, priority in enumerate(kinds):
        group = feeders[k % len(feeders)]
        found.append(
            Proposal(
                f"wish-{k}", group, priority, "bench", "measured", NOON_S, now_s + 3_600,
                p_kw=-0.1 * len(case.rows_of[group]),
            )
        )  # fmt: skip
    return tuple(found)


class _Adapters:
    """Twelve ways to devices, each handed its own orders as columns."""

    def __init__(self, case: Case) -> None:
        self._provider = case.provider
        self._many = int(case.provider.max()) + 1
        self.last: Orders | None = None
        self.handed = 0

    def send(self, orders: Orders) -> None:
        """Slices by adapter."""
        code = self._provider[orders.index]
        order = np.argsort(code, kind="stable")
        until = np.searchsorted(code[order], np.arange(1, self._many))
        for of in np.split(order, until):
            handed = orders.index[of], orders.order_id[of], orders.p_kw[of], orders.expires_s[of]
            self.handed += len(handed[0])
        self.last = orders


def _entry(decision: Decision, tick: int) -> Entry:
    """A tick as the ledger keeps it."""
    orders = decision.orders
    q_kvar = np.zeros(0, dtype=np.float32) if orders.q_kvar is None else orders.q_kvar
    columns: dict[str, NDArray[Any]] = {
        "order_id": orders.order_id, "row": orders.index, "p_kw": orders.p_kw, "q_kvar": q_kvar,
        "expires_s": orders.expires_s, "source": orders.source,
    }  # fmt: skip
    short = {g.proposal.id: round(g.shortfall_kw, 3) for g in decision.grants if abs(g.shortfall_kw) > 1e-3}
    head: dict[str, Json] = {"tick": tick, "sources": list(orders.sources), "shortfall_kw": short}
    return Entry("tick", orders.issued_s, head, columns)


# ---- the truth, and the rival ------------------------------------------------------------------------


def _faults(decision: Decision, image: Image) -> set[str]:
    """Orders outside what their resource can do, and plan groups off their sum for no reason."""
    wrong = set()
    able: Capability = capability(image)
    orders = decision.orders
    asked = np.isfinite(orders.p_kw)
    rows, p_kw = orders.index[asked], orders.p_kw[asked].astype(np.float64)
    slack = 1e-3 + 1e-5 * np.abs(p_kw)
    if ((p_kw < able.p_lo_kw[rows] - slack) | (p_kw > able.p_hi_kw[rows] + slack)).any():
        wrong.add("orders outside what a resource can do")
    for grant in decision.grants:
        if abs(grant.shortfall_kw - sum(grant.causes.values())) > SUM_KW + SUM_SHARE * abs(grant.asked_kw):
            wrong.add("a shortfall without causes")
    return wrong


def _by_numpy(case: Case, image: Image, schedule: Schedule, now_s: int) -> float:
    """Least seconds of a plain split: group by group in proportion to room, clipped, no wishes, no guard."""
    k = schedule.grid.step_at(now_s)
    taken = []
    for _ in range(BASELINE_REPEATS):
        begun = time.perf_counter()
        able = capability(image)
        low, high = able.p_lo_kw, able.p_hi_kw
        present = np.nan_to_num(image.p_kw.astype(np.float64))
        target: Kw = np.full(image.n, np.nan)
        for g, name in enumerate(schedule.groups):
            rows = case.rows_of[name]
            want = schedule.p_kw[g, k] - present[rows].sum()
            room = high[rows] - present[rows] if want > 0.0 else present[rows] - low[rows]
            whole = room.sum()
            part = min(1.0, abs(want) / whole) if whole > 0.0 else 0.0
            target[rows] = np.clip(present[rows] + np.sign(want) * part * room, low[rows], high[rows])
        due = np.flatnonzero(np.abs(target - present) > 0.05)
        np.column_stack([due, target[due], np.full(len(due), now_s + 300)])
        taken.append(time.perf_counter() - begun)
    return min(taken)
