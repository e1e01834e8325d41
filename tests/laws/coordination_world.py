"""Small random coordination problems and the whole as one linear program."""

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
        rng.uniform(0.05, 0.4, 2),
    )
    paid = 0.7 * np.abs(whole).max(axis=1)
    peaks = Peaks(("demand charge",), (every,), whole, paid, rng.uniform(0.05, 0.5, 1))
    premium = rng.normal(0.0, 0.01, (groups, steps))
    problem = replace(of.problem, limits=limits, ramps=ramps, peaks=peaks, premium=premium)
    return replace(of, problem=problem)


def referee(of: World) -> float:
    """The whole as one program, written down cell by cell for scipy."""
    stores, problem = of.oracles[0], of.problem
    m, steps, hours = stores.members, len(problem.hours), problem.hours
    group = np.repeat(np.arange(stores.groups), np.diff(stores.start))
    cost, high, rows, needs = [], [], [], []

    def column(price, most=np.inf):
        cost.append(price)
        high.append(most)
        return len(cost) - 1

    def row(entries, need):  # sum >= need
        rows.append(entries)
        needs.append(need)

    worth = (problem.price + problem.premium)[group] * hours
    drawn = [[column(worth[k, t] + stores.wear[k] * hours[t]) for t in range(steps)] for k in range(m)]
    given = [[column(stores.wear[k] * hours[t] - worth[k, t]) for t in range(steps)] for k in range(m)]
    for k in range(m):
        stored = []
        for t in range(steps):
            row([(drawn[k][t], -1 / stores.charge_kw[k]), (given[k][t], -1 / stores.discharge_kw[k])], -1.0)
            stored += [(drawn[k][t], stores.eff_charge[k] * hours[t])]
            stored += [(given[k][t], -hours[t] / stores.eff_discharge[k])]
            row(list(stored), stores.e_lo_kwh[k] - stores.e_now_kwh[k])
            row([(c, -v) for c, v in stored], stores.e_now_kwh[k] - stores.e_hi_kwh[k])
        for c, v in stored:
            cost[c] -= stores.end_value[k] * v

    def power(groups, coefficient, t, sign):
        terms = []
        for g, a in zip(groups, coefficient, strict=True):
            at = float(np.broadcast_to(a, steps)[t])
            for k in np.flatnonzero(group == g):
                terms += [(drawn[k][t], -sign * at), (given[k][t], sign * at)]
        return terms

    limits, ramps, peaks = problem.limits, problem.ramps, problem.peaks
    for r, groups in enumerate(limits.groups):
        for t in range(steps):
            for sign, edge in ((1, limits.floor_kw[r, t]), (-1, limits.ceiling_kw[r, t])):
                if np.isfinite(edge):
                    slack = column(limits.slack_price[r] * hours[t])
                    terms = power(groups, limits.coefficient[r], t, sign)
                    row([*terms, (slack, 1.0)], sign * (edge - limits.fixed_kw[r, t]))
    for r, groups in enumerate(ramps.groups):
        for t in range(steps):
            before = ramps.fixed_kw[r, t - 1] if t else ramps.before_kw[r]
            if np.isnan(before):
                continue
            for sign in (1, -1):
                slack, ones = column(ramps.slack_price[r]), np.ones(len(groups))
                terms = power(groups, ones, t, sign) + (power(groups, ones, t - 1, -sign) if t else [])
                row([*terms, (slack, 1.0)], -ramps.most_kw[r, t] - sign * (ramps.fixed_kw[r, t] - before))
    for r, groups in enumerate(peaks.groups):
        above = column(peaks.price[r])
        for t in range(steps):
            terms = power(groups, np.ones(len(groups)), t, 1)
            row([*terms, (above, 1.0)], -peaks.paid_kw[r] - peaks.fixed_kw[r, t])
    matrix = np.zeros((len(rows), len(cost)))
    for n, entries in enumerate(rows):
        for c, v in entries:
            matrix[n, c] += v
    found = linprog(cost, -matrix, -np.array(needs), bounds=[(0.0, h) for h in high])
    assert found.status == 0
    return found.fun + float((stores.end_value * (stores.e_want_kwh - stores.e_now_kwh)).sum())
