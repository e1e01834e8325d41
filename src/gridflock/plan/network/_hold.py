"""A plan made above the feeder, held to the feeder's limits in AC with as little change as there can be.

Prices of system, contract and feeder head have already been weighed by whoever made the plan; what is left
are the limits inside. Every step is solved in AC, and what breaks is repaired (``_repair``): reactive power
first, then power of the devices that matter, their energy moved in time instead of lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gridflock.plan.devices import Bands
from gridflock.plan.network._columns import columns
from gridflock.plan.network._deciders import content, missing_kwh
from gridflock.plan.network._exact import Exact
from gridflock.plan.network._feeder import Feeder
from gridflock.plan.network._movement import Dispatch
from gridflock.plan.network._refused import DayRejected, Devices, check_day
from gridflock.plan.network._repair import Round, Workshop, repair
from gridflock.plan.network._verdict import Broken, Limits, Verdict, limits
from gridflock.units import Kvar, Kw, Kwh, Money, Pu

ROUNDS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A plan that keeps a feeder's limits, or comes as near as was found.

    Attributes:
        p_kw: float64 (m, T) active power of each device.
        q_kvar: float64 (m, T) reactive power of each.
        before: AC verdict of the plan as it was.
        verdict: AC verdict over every node, conductor and step.
        broken: limits that do not hold, by name; empty where the verdict is clean.
        missing_kwh: (m,) by how much each device's band is not kept.
        v_pu: (T, n) voltages, NaN in steps that were not solved.
        rounds: what it took.
    """

    p_kw: Kw
    q_kvar: Kvar
    before: Verdict
    verdict: Verdict
    broken: tuple[Broken, ...]
    missing_kwh: Kwh
    v_pu: Pu
    rounds: tuple[Round, ...]


def hold(
    feeder: Feeder,
    devices: Devices,
    p_kw: Kw,
    price: Money,
    kept: Limits | None = None,
    *,
    rounds: int = ROUNDS,
    going: Callable[[], bool] = lambda: True,
    watch: Callable[[Round], None] = lambda _: None,
) -> Held:
    """Hold a plan of devices to a feeder's limits.

    Args:
        feeder: with its device ports and the steps' loads.
        devices: who stands there.
        p_kw: (m, T) the plan; what of it devices cannot do is corrected.
        price: (T,) or (m, T) worth of a kWh injected, money/kWh: where displaced energy goes.
        kept: what is to be kept; by default the limits, no worse than without devices.
        rounds: most of the repair.
        going: asked between rounds whether there is time to go on.
        watch: told of every round.

    Raises:
        DayRejected: the input breaks a rule; all faults are named.
    """
    exact = Exact(feeder)
    if kept is None:
        still = np.zeros((feeder.ports, feeder.steps))
        without = exact.points(still, still)
        kept = limits(feeder.network, without.v, exact.currents(without.v))
    if faults := check_day(feeder, devices, price, kept, p_kw):
        raise DayRejected(faults)
    of = columns(devices.port, devices.s_kva, feeder.ports, devices.q_share)
    bands = Bands.of(devices.flexibility, end_value=devices.end_value)
    worth = np.zeros((feeder.ports, feeder.steps))
    worth[devices.port] = price
    shop = Workshop(feeder, exact, kept, bands, of, worth)
    plan = Dispatch(np.asarray(p_kw, dtype=np.float64), np.zeros((len(of.reactive), feeder.steps)))
    before = shop.judged(plan)[1]
    found = repair(shop, plan, rounds=rounds, going=going, watch=watch)
    amps = exact.currents(found.points.v)
    return Held(
        found.dispatch.p_kw,
        of.by_device(found.dispatch.p_kw, found.dispatch.q_kvar),
        before,
        found.verdict,
        found.verdict.broken(feeder.network, kept, found.points.v, amps),
        missing_kwh(bands, content(bands, found.dispatch.p_kw)),
        np.abs(found.points.v) / feeder.network.v_base,
        found.rounds,
    )
