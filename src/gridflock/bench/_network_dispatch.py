"""A day on a real feeder planned to zero AC violations, with its bounds, and OpenDSS as the referee."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from gridflock.bench._network_referee import refereed
from gridflock.bench._network_unservable import unservable_kwh
from gridflock.bench._network_world import World, opened, rolled, world
from gridflock.grid._network import Complex, Float
from gridflock.plan.network import Devices, How, NetworkPlan, Policy, dispatch_plan
from gridflock.plan.network._dispatch import Progress
from gridflock.plan.network._exact import Exact
from gridflock.plan.network._loop import Warm
from gridflock.plan.network._verdict import Limits, Verdict, judged, limits
from gridflock.units import Kvar, Kw

WITHIN = 0.01
"""Of the linearised bound: a plan that is dearer does not count."""
SERVED = 1e-4
"""Part of the vehicles' need that may be lacking beyond what is proven to be out of any plan's reach."""
NAMED = 12
"""Limits that do not hold are named up to so many."""
AGREES_PU = 1e-6
MISSING_KWH = 1e-6
"""A store that leaves its band by more does not count."""
THREADS = 2
POLISH = 4
"""Rounds after the first plan without violations."""


@dataclass(slots=True, eq=False)
class _Watch:
    """When a planning first has no violation left, and what its rounds were."""

    clock_s: float = field(default_factory=time.perf_counter)
    cpu_s: float = field(default_factory=time.process_time)
    clean_s: float = float("nan")
    clean_cpu_s: float = float("nan")
    last_s: float = float("nan")
    last_cpu_s: float = float("nan")
    log: list[str] = field(default_factory=list)

    def __call__(self, now: Progress) -> None:
        clock_s, cpu_s = time.perf_counter() - self.clock_s, time.process_time() - self.cpu_s
        self.last_s, self.last_cpu_s = clock_s, cpu_s
        if not now.violations and np.isnan(self.clean_s):
            self.clean_s, self.clean_cpu_s = clock_s, cpu_s
        self.log.append(
            f"{now.stage} {now.round}: {now.voltages} V {now.currents} I {now.unsolved} unsolved, "
            f"cost {now.cost:.2f}, {clock_s:.2f} s, processor {cpu_s:.2f} s"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """A world, its limits, and the day without devices."""

    world: World
    limits: Limits
    devices: Devices
    exact: Exact
    without: Verdict

    @property
    def price(self) -> Float:
        """(D, T) worth of a kWh injected, by device."""
        price: Float = self.world.price[self.world.place]
        return price

    def sums(self, values: Kw | Kvar) -> Float:
        """(P, T) devices' powers (D, T) by port."""
        total = np.zeros((self.world.feeder.ports, values.shape[1]))
        np.add.at(total, self.world.place, values)
        return total

    def at(self, plan: NetworkPlan) -> _Case:
        """The same at the plan's taps and capacitors."""
        if plan.feeder is self.world.feeder:
            return self
        return replace(self, world=replace(self.world, feeder=plan.feeder), exact=Exact(plan.feeder))

    def day(self, p_kw: Kw, q_kvar: Kvar) -> tuple[Complex, Complex]:
        """Voltages and currents of all steps under devices' powers (D, T)."""
        v = self.exact.points(self.sums(p_kw), self.sums(q_kvar)).v
        return v, self.exact.currents(v)


def network_dispatch(
    source: str,
    root: Path | None,
    ders: int,
    seed: int,
    *,
    policy: str = "no_worse",
    reactive: bool = True,
    taps: bool = False,
    warm: bool = False,
    polish: int = POLISH,
) -> dict[str, Any]:
    """Plan a day of synthetic devices on a real feeder, and let OpenDSS judge every step of it.

    Args:
        source: an OpenDSS master, or the name of a packed feeder.
        root: folder outside which nothing is read.
        ders: devices.
        seed: of everything drawn.
        policy: ``hard``, ``no_worse`` or ``ignore`` where the day without devices breaks a limit.
        reactive: whether inverters give reactive power.
        taps: whether regulators and capacitors take part; they stand still otherwise.
        warm: plan the horizon a quarter of an hour later, too, from the first plan.
        polish: rounds after the first plan without violations, for a lower cost.

    Returns:
        ``zero_violations_s`` (the clock) and ``zero_violations_cpu_s`` to the first plan that keeps all
        limits in AC, ``planned_s`` to the one that is returned after polishing, the linearised bound not
        counted; its ``violations``, and those of ±5 % and ratings where they are not widened to the day
        without devices; ``tap_moves``; cost over the bounds, as parts of them; OpenDSS's own count and its
        largest difference; what devices do not get, and how much of vehicles' need is proven to be out of
        any plan's reach; the rounds; limits that do not hold, by name.

    Raises:
        FeederRejected: the file cannot be read.
        NotConverged: OpenDSS does not solve a step of the plan.
        OpenDssMissing: the referee is not installed.
        UnknownFeeder: neither a file nor a packed feeder.
    """
    with (
        threadpool_limits(THREADS),
        ThreadPoolExecutor(THREADS) as pool,
        opened(source, root) as (path, folder),
    ):
        _compiled()
        here = _case(world(path, folder, ders, seed), Policy(policy), reactive=reactive)
        watch = _Watch()
        how = How(watch=watch, polish=polish, spread=pool.map, parts=THREADS, taps=taps)
        plan = dispatch_plan(here.world.feeder, here.devices, here.price, here.limits, how=how)
        there = here.at(plan)
        found = (
            _facts(here)
            | _figures(here, plan, watch)
            | {"ev_unservable_kwh": _floored(unservable_kwh(there.world, there.limits))}
            | _moved(there)
            | _judged(path, folder, there, plan)
        )
        if warm:
            found |= _warm(there, plan, Policy(policy), watch, how, reactive=reactive)
    wrong = _wrong(found)
    return {**found, "counts": not wrong, "why_not": "; ".join(wrong)}


@cache
def _compiled() -> None:
    """Have every loop compiled before anything is timed, once."""
    with opened("ieee123", None) as (path, folder):
        small = _case(world(path, folder, 400, 1), Policy.NO_WORSE, reactive=True)
        dispatch_plan(
            small.world.feeder, small.devices, small.price, small.limits, how=How(rounds=2, bound=60)
        )


def _case(of: World, policy: Policy, *, reactive: bool) -> _Case:
    feeder = of.feeder
    exact = Exact(feeder)
    still = np.zeros((feeder.ports, feeder.steps))
    v = exact.points(still, still).v
    amps = exact.currents(v)
    kept = limits(feeder.network, v, amps, policy)
    hard = judged(feeder.network, limits(feeder.network, v, amps, Policy.HARD), v, amps)
    s_kva = of.s_kva if reactive else np.zeros_like(of.s_kva)
    return _Case(of, kept, Devices(of.flexibility, of.place, s_kva), exact, hard)


# ---- figures -----------------------------------------------------------------------------------------


def _facts(here: _Case) -> dict[str, Any]:
    """What was to be planned."""
    of, rows = here.world, here.world.flexibility
    network = of.feeder.network
    size = {kind: of.of(kind) for kind in ("pv", "vehicle", "battery")}
    return {
        "feeder": network.name,
        "nodes": network.n,
        "conductors": int(np.isfinite(here.limits.most_a[0]).sum()),
        "steps": of.feeder.steps,
        "threads": THREADS,
        "ders": len(of.kind),
        "ports": of.feeder.ports,
        "pv_kw": round(float(rows.base_kw[size["pv"]].max(axis=1).sum()), 1),
        "vehicles_kw": round(float(rows.down_kw[size["vehicle"]].max(axis=1).sum()), 1),
        "batteries_kw": round(float(rows.up_kw[size["battery"]].max(axis=1).sum()), 1),
        "peak_load_kw": round(float(-of.feeder.load_kva.real.sum(axis=1).min()), 1),
        "taps": " ".join(map(str, of.feeder.state.taps.tolist())),
        "violations_without_devices": here.without.violations,
        "worst_without_devices_pu": _short(here.without.worst_pu),
    }


def _figures(here: _Case, plan: NetworkPlan, watch: _Watch) -> dict[str, Any]:
    """What the plan is."""
    of, first = here.world, plan.log[0]
    pv, base = of.of("pv"), of.flexibility.base_kw
    return {
        "violations_price_only": first.violations,
        "zero_violations_s": round(watch.clean_s, 2),
        "zero_violations_cpu_s": round(watch.clean_cpu_s, 2),
        "planned_s": round(watch.last_s, 2),
        "planned_cpu_s": round(watch.last_cpu_s, 2),
        "violations": plan.verdict.violations,
        "worst_pu": _short(plan.verdict.worst_pu),
        "worst_over": _short(plan.verdict.worst_over),
        "cost_money": round(plan.cost, 3),
        "free_bound_money": round(plan.free_bound, 3),
        "linearised_bound_money": round(plan.linear_bound, 3),
        "cost_over_free_bound": _over(plan.cost, plan.free_bound),
        "cost_over_linearised_bound": _over(plan.cost, plan.linear_bound),
        "ev_need_kwh": round(float(of.flexibility.x_hi_kwh[of.of("vehicle"), -1].sum()), 1),
        "ev_unserved_kwh": _short(float(plan.missing_kwh[of.of("vehicle")].sum())),
        "missing_kwh": _short(float(plan.missing_kwh[~of.of("vehicle")].max(initial=0.0))),
        "pv_curtailed": _short(1.0 - float(plan.p_kw[pv].sum() / base[pv].sum())) if pv.any() else 0.0,
        "rounds": watch.log,
        "broken": [str(one) for one in plan.broken[:NAMED]],
        "broken_elements": len(plan.broken),
    }


def _moved(there: _Case) -> dict[str, Any]:
    """What regulators and capacitors do, and the day without devices at their positions."""
    feeder = there.world.feeder
    v, amps = there.day(*(np.zeros_like(there.price) for _ in range(2)))
    asked = limits(feeder.network, v, amps, Policy.HARD)
    return {
        "tap_moves": feeder.tap_moves,
        "capacitor_moves": feeder.cap_moves,
        "tap_states": len(feeder.stands()),
        "violations_without_devices_at_these": judged(feeder.network, asked, v, amps).violations,
    }


def _judged(path: Path, root: Path | None, here: _Case, plan: NetworkPlan) -> dict[str, Any]:
    """What OpenDSS says, and whether reactive power is inside the inverters' discs."""
    v, amps = here.day(plan.p_kw, plan.q_kvar)
    theirs = refereed(
        path, root, here.world, here.limits, here.sums(plan.p_kw), here.sums(plan.q_kvar), v, amps
    )
    unwidened = limits(here.world.feeder.network, v, amps, Policy.HARD)
    beyond = np.hypot(plan.p_kw, plan.q_kvar) - here.devices.s_kva[:, None]
    with_inverter = here.devices.s_kva > 0.0
    return {
        "violations_unwidened": judged(here.world.feeder.network, unwidened, v, amps).violations,
        "opendss_violations": theirs.verdict.violations,
        "opendss_max_error_pu": _short(theirs.error_pu),
        "opendss_max_error_of_limit": _short(theirs.error_a),
        "beyond_rating_kva": _short(max(0.0, float(beyond[with_inverter].max(initial=0.0)))),
    }


def _warm(
    here: _Case, plan: NetworkPlan, policy: Policy, cold: _Watch, how: How, *, reactive: bool
) -> dict[str, Any]:
    """The next horizon from the last plan."""
    later = _case(rolled(here.world, plan.p_kw), policy, reactive=reactive)
    warm: Warm = plan.warm.later(1)
    watch = _Watch()
    found = dispatch_plan(
        later.world.feeder,
        later.devices,
        later.price,
        later.limits,
        how=replace(how, watch=watch, bound=0, polish=0),
        warm=warm,
    )
    return {
        "warm_zero_violations_s": round(watch.clean_s, 2),
        "warm_zero_violations_cpu_s": round(watch.clean_cpu_s, 2),
        "warm_part_of_cold": round(watch.clean_s / cold.clean_s, 3),
        "warm_violations": found.verdict.violations,
        "warm_cost_over_free_bound": _over(found.cost, found.free_bound),
        "warm_rounds": watch.log,
    }


def _over(cost: float, bound: float) -> float:
    return _short((cost - bound) / abs(bound))


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def _floored(kwh: float) -> float:
    """A lower bound stays one when it is rounded."""
    return math.floor(1e3 * kwh) / 1e3


def _wrong(found: dict[str, Any]) -> list[str]:
    """Why the figures do not count; what is no number (NaN) does not."""
    wrong = [f"{name}: {found[name]}" for name in ("violations", "opendss_violations") if found[name]]
    if not found["opendss_max_error_pu"] <= AGREES_PU:
        wrong.append(f"OpenDSS differs by {found['opendss_max_error_pu']} pu (rule: at most {AGREES_PU})")
    if not found["cost_over_linearised_bound"] <= WITHIN:
        wrong.append(f"{found['cost_over_linearised_bound']} over the linearised bound (rule: {WITHIN})")
    lacking = found["ev_unserved_kwh"] - found["ev_unservable_kwh"]
    if not lacking <= SERVED * found["ev_need_kwh"]:
        wrong.append(
            f"vehicles lack {found['ev_unserved_kwh']} kWh, {found['ev_unservable_kwh']} of it beyond reach "
            f"(rule: at most {SERVED} of their need more than that)"
        )
    if not found["missing_kwh"] <= MISSING_KWH:
        wrong.append(f"a battery's band is left by {found['missing_kwh']} kWh")
    return wrong
