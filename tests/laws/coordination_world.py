"""Small random coordination problems and the whole as one linear program."""

import itertools
from dataclasses import replace

import numpy as np
from scipy.optimize import linprog

from gridflock.bench._coordination_monolith import monolith
from gridflock.bench._coordination_world import World, world
from gridflock.plan.coordination import Coordinator, Peaks, Ramps, answered


def batteries(seed, ders=24, feeders=2, steps=16):
    """A world of batteries only: those the one program knows."""
    return world(ders, feeders, steps, "batteries", seed, map, 1)


def mixed(seed, ders=60, feeders=3, steps=48, fleet="tight"):
    """Batteries and vehicles."""
    return world(ders, feeders, steps, fleet, seed, map, 1)


def optimum(of: World) -> float:
    """By HiGHS."""
    return monolith(of, 60.0)[0]


def ask(of, question):
    """All oracles' answers, in order."""
    return answered(of.oracles, question)


def run(of, rounds, change=lambda _, answer: answer, **options):
    """A coordinator after so many rounds, or at its target."""
    coordinator = Coordinator(of.problem, **options)
    for k in range(rounds):
        coordinator.absorb(change(k, ask(of, coordinator.question())))
        if coordinator.status().done:
            break
    return coordinator


def coupled(seed, ders=16, feeders=3, steps=12, by_step=False):
    """Batteries under limits with coefficients, ramps, a demand charge and premiums."""
    of = batteries(seed, ders * feeders // 2, feeders, steps)
    rng = np.random.default_rng((seed, 5))
    limits, groups = of.problem.limits, of.problem.groups
    shape = (lambda n: (n, steps)) if by_step else (lambda n: n)
    limits = replace(limits, coefficient=tuple(rng.uniform(0.8, 1.1, shape(len(g))) for g in limits.groups))
    every, whole = np.arange(groups), limits.fixed_kw[-1:]
    ramps = Ramps(
        ("ramp of the system", "ramp of feeder 0"),
        (every, every[:1]),
        limits.fixed_kw[[-1, 0]],
        np.array([limits.fixed_kw[-1, 0], np.nan]),
        rng.uniform(1.0, 6.0, (2, steps)),
        10 ** rng.uniform(-3.0, -0.5, 2),
    )
    paid = rng.uniform(0.2, 0.7) * np.abs(whole).max(axis=1)
    peaks = Peaks(("demand charge",), (every,), whole, paid, 10 ** rng.uniform(-3.0, 0.0, 1))
    premium = rng.normal(0.0, 0.01, (groups, steps))
    problem = replace(of.problem, limits=limits, ramps=ramps, peaks=peaks, premium=premium)
    return replace(of, problem=problem)


class _Program:
    """Columns, rows ``sum >= need``, and the batteries' part of both."""

    def __init__(self, of: World) -> None:
        self.stores, self.problem = of.oracles[0], of.problem
        self.steps, self.hours = len(of.problem.hours), of.problem.hours
        self.group = np.repeat(np.arange(self.stores.groups), np.diff(self.stores.start))
        self.cost, self.rows, self.needs = [], [], []
        members = range(self.stores.members)
        worth = (self.problem.price + self.problem.premium)[self.group] * self.hours
        wear = np.outer(self.stores.wear, self.hours)
        self.drawn = [[self.column(c) for c in (worth + wear)[k]] for k in members]
        self.given = [[self.column(c) for c in (wear - worth)[k]] for k in members]
        for k in members:
            self._store(k)

    def column(self, price):
        self.cost.append(price)
        return len(self.cost) - 1

    def row(self, entries, need):
        self.rows.append(entries)
        self.needs.append(need)

    def power(self, groups, coefficient, t, sign):
        """What the groups' power brings to a row."""
        terms = []
        for g, a in zip(groups, coefficient, strict=True):
            at = sign * float(np.broadcast_to(a, self.steps)[t])
            for k in np.flatnonzero(self.group == g):
                terms += [(self.drawn[k][t], -at), (self.given[k][t], at)]
        return terms

    def optimum(self):
        matrix = np.zeros((len(self.rows), len(self.cost)))
        for n, entries in enumerate(self.rows):
            for c, v in entries:
                matrix[n, c] += v
        found = linprog(self.cost, -matrix, -np.array(self.needs))
        assert found.status == 0
        stores = self.stores
        return found.fun + float((stores.end_value * (stores.e_want_kwh - stores.e_now_kwh)).sum())

    def _store(self, k):
        of, stored = self.stores, []
        for t, hours in enumerate(self.hours):
            drawn, given = self.drawn[k][t], self.given[k][t]
            self.row([(drawn, -1 / of.charge_kw[k]), (given, -1 / of.discharge_kw[k])], -1.0)
            stored += [(drawn, of.eff_charge[k] * hours), (given, -hours / of.eff_discharge[k])]
            self.row(list(stored), of.e_lo_kwh[k] - of.e_now_kwh[k])
            self.row([(c, -v) for c, v in stored], of.e_now_kwh[k] - of.e_hi_kwh[k])
        for c, v in stored:
            self.cost[c] -= of.end_value[k] * v


def referee(of: World) -> float:
    """The whole as one program, written down cell by cell for scipy."""
    program = _Program(of)
    _limits(program)
    _ramps(program)
    peaks = of.problem.peaks
    for r, groups in enumerate(peaks.groups):
        above = program.column(peaks.price[r])
        for t in range(program.steps):
            terms = program.power(groups, np.ones(len(groups)), t, 1)
            program.row([*terms, (above, 1.0)], -peaks.paid_kw[r] - peaks.fixed_kw[r, t])
    return program.optimum()


def _limits(program):
    limits = program.problem.limits
    edges = [(1, limits.floor_kw), (-1, limits.ceiling_kw)]
    for r, t, (sign, edge) in itertools.product(range(len(limits.names)), range(program.steps), edges):
        if np.isfinite(edge[r, t]):
            slack = program.column(limits.slack_price[r] * program.hours[t])
            terms = program.power(limits.groups[r], limits.coefficient[r], t, sign)
            program.row([*terms, (slack, 1.0)], sign * (edge[r, t] - limits.fixed_kw[r, t]))


def _ramps(program):
    ramps = program.problem.ramps
    for r, t, sign in itertools.product(range(len(ramps.names)), range(program.steps), (1, -1)):
        before = ramps.fixed_kw[r, t - 1] if t else ramps.before_kw[r]
        if np.isfinite(before):
            slack, ones = program.column(ramps.slack_price[r]), np.ones(len(ramps.groups[r]))
            terms = program.power(ramps.groups[r], ones, t, sign)
            terms += program.power(ramps.groups[r], ones, t - 1, -sign) if t else []
            need = -ramps.most_kw[r, t] - sign * (ramps.fixed_kw[r, t] - before)
            program.row([*terms, (slack, 1.0)], need)
