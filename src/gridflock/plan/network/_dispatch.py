"""The plan of a feeder's day: the loop, its repair, and what both say about the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from gridflock.plan.devices import Bands
from gridflock.plan.devices._compiled import Spread
from gridflock.plan.network._bound import Prices, prices, tightened
from gridflock.plan.network._columns import columns
from gridflock.plan.network._correction import OWED
from gridflock.plan.network._deciders import Deciders, content, missing_kwh
from gridflock.plan.network._exact import Exact, Points
from gridflock.plan.network._feeder import Feeder
from gridflock.plan.network._loop import Day, Loop, Settings, Warm
from gridflock.plan.network._movement import COUNTS_KWH, Dispatch
from gridflock.plan.network._needs import Kept, served, unserved_kwh
from gridflock.plan.network._reasons import Reasons, reasons
from gridflock.plan.network._refused import DayRejected, Devices, check_day
from gridflock.plan.network._repair import MOST_ROUNDS, Workshop, repair
from gridflock.plan.network._taps import Levers, Standing, moved
from gridflock.plan.network._verdict import BAND_PU, Broken, Limits, Policy, Verdict, judged, limits
from gridflock.units import Kvar, Kw, Kwh, Money

FIRST_REPAIR = 4
"""Rounds after which a plan with little violation left goes to the repair."""
LITTLE = 0.025
"""So much is little: the steps' worst violation, pu or part of a limit, in their mean. How many there are
matters less: one full transformer counts in every step."""
REPAIRED_IN = 6
"""Rounds of a repair that is tried on the way; the one at the end may take all it needs."""
BOUND_PASSES = 900
LEVERS = Levers()


@dataclass(frozen=True, slots=True)
class Progress:
    """One round of the loop or of the repair.

    Attributes:
        stage: ``"loop"``, ``"taps"``, ``"repair"`` or ``"needs"``.
        round: counted from 0, the plan by price alone.
        voltages: nodes and steps beyond a voltage limit.
        currents: conductors and steps beyond a current limit.
        unsolved: steps without an AC solution.
        cost: of the plan as it is, money.
    """

    stage: str
    round: int
    voltages: int
    currents: int
    unsolved: int
    cost: float

    @property
    def violations(self) -> int:
        """Everything that does not hold."""
        return self.voltages + self.currents + self.unsolved


@dataclass(frozen=True, slots=True)
class How:
    """How a day is planned.

    Attributes:
        settings: of the loop.
        rounds: most of the loop.
        polish: rounds after the first clean plan, for a lower cost.
        bound: passes for the linearised bound; 0 for none.
        going: asked between rounds whether there is time to go on.
        watch: told of every round.
        spread: ``map``, or that of a pool of threads.
        parts: over how many calls.
        taps: whether regulators and capacitors take part; else they stand where the feeder has them.
    """

    settings: Settings = field(default_factory=Settings)
    rounds: int = 24
    polish: int = 0
    bound: int = BOUND_PASSES
    going: Callable[[], bool] = lambda: True
    watch: Callable[[Progress], None] = lambda _: None
    spread: Spread = map
    parts: int = 1
    taps: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class NetworkPlan:
    """What m devices do in T steps, and how good that is.

    Attributes:
        p_kw: float64 (m, T) active power of each device, injection positive.
        q_kvar: float64 (m, T) reactive power of each.
        verdict: AC over every node, conductor and step.
        broken: limits that do not hold, by name; empty where the verdict is clean.
        cost: own cost of the devices less what their energy earns, money.
        free_bound: what the best plan without any network costs: no plan costs less.
        linear_bound: the most that any plan of the linear model around this one is proven to cost at least;
            NaN where not asked for. Tight, but no proof for AC.
        missing_kwh: (m,) by how much each device's band is not kept.
        prices: what the network adds to the worth of power at every port.
        reasons: the limits behind these prices.
        log: every round.
        warm: where the next horizon may begin.
        feeder: with taps and capacitors where the plan has them.
    """

    p_kw: Kw
    q_kvar: Kvar
    verdict: Verdict
    broken: tuple[Broken, ...]
    cost: float
    free_bound: float
    linear_bound: float
    missing_kwh: Kwh
    prices: Prices
    reasons: Reasons
    log: tuple[Progress, ...]
    warm: Warm
    feeder: Feeder

    @property
    def clean(self) -> bool:
        """Whether every limit holds in every step."""
        return self.verdict.clean


def day_limits(
    feeder: Feeder,
    policy: Policy = Policy.NO_WORSE,
    *,
    band_pu: tuple[float, float] = BAND_PU,
    loading: float = 1.0,
) -> Limits:
    """The limits of a feeder's day, with a policy for what the day without devices breaks.

    Args:
        feeder: with the day's loads.
        policy: what is asked where that day breaks a limit.
        band_pu: lowest and highest voltage.
        loading: largest share of the rated current.
    """
    exact = Exact(feeder)
    without = _without(feeder, exact)
    amps = exact.currents(without.v)
    return limits(feeder.network, without.v, amps, policy, band_pu=band_pu, loading=loading)


def dispatch_plan(
    feeder: Feeder,
    devices: Devices,
    price: Money,
    kept: Limits | None = None,
    *,
    how: How | None = None,
    warm: Warm | None = None,
) -> NetworkPlan:
    """What devices do at given prices so that the feeder keeps its limits in AC in every step.

    There is always a plan; look at ``clean``, and at ``broken`` for what could not be kept.

    Args:
        feeder: with its device ports and the day's loads.
        devices: who stands there.
        price: (T,) or (m, T) worth of a kWh injected, money/kWh, prices of limits above included.
        kept: what is to be kept; by default ``day_limits(feeder)``.
        how: rounds, time and threads.
        warm: from the plan of an earlier horizon (``Warm.later``).

    Raises:
        DayRejected: the input breaks a rule; all faults are named.
    """
    how = how or How()
    exact = Exact(feeder)
    without = _without(feeder, exact)
    if kept is None:
        kept = limits(feeder.network, without.v, exact.currents(without.v))
    if faults := check_day(feeder, devices, price, kept):
        raise DayRejected(faults)
    bands = Bands.of(devices.flexibility, end_value=devices.end_value, spread=how.spread, parts=how.parts)
    worth = np.broadcast_to(np.asarray(price, dtype=np.float64), devices.flexibility.base_kw.shape)
    of = columns(devices.port, devices.s_kva, feeder.ports, devices.q_share)
    day = Day(
        feeder, exact, kept, Deciders.of(bands, devices.unserved_price), of, np.ascontiguousarray(worth)
    )
    return _Planner(day, how, bands, without).plan(warm)


def _without(feeder: Feeder, exact: Exact) -> Points:
    still = np.zeros((feeder.ports, feeder.steps))
    return exact.points(still, still)


class _Planner:
    """One planning of a day, and what it has found so far."""

    def __init__(self, day: Day, how: How, bands: Bands, without: Points) -> None:
        self.day, self.how, self.bands, self.without = day, how, bands, without
        self.log: list[Progress] = []
        self.clean: Dispatch | None = None

    def plan(self, warm: Warm | None) -> NetworkPlan:
        """The whole way."""
        day, how = self.day, self.how
        free = day.deciders.best(day.price)
        still = np.zeros((len(day.columns.reactive), day.feeder.steps))
        loop = Loop.begun(day, how.settings, self.without, Dispatch(free, still), warm)
        self._turn(loop, FIRST_REPAIR if warm is None else 1)
        found = self.clean
        if found is None:
            found = self._repaired(loop, None)
        found = self._served(loop, found)
        if not loop.round:
            loop.stand()
        day = self.day
        points = day.points(found)
        amps = day.exact.currents(points.v)
        verdict = judged(day.feeder.network, day.limits, points.v, amps)
        kept = loop.warm()
        network_prices, why = prices(loop), reasons(loop)
        bound = tightened(loop, found, how.bound) if how.bound and how.going() else np.nan
        return NetworkPlan(
            found.p_kw, day.columns.by_device(found.p_kw, found.q_kvar), verdict,
            verdict.broken(day.feeder.network, day.limits, points.v, amps),
            day.value(found.p_kw), day.value(free), bound,
            missing_kwh(self.bands, content(self.bands, found.p_kw)),
            network_prices, why, tuple(self.log), kept, day.feeder,
        )  # fmt: skip

    def _turn(self, loop: Loop, repairs_from: int) -> None:
        """Rounds until the plan is clean and polished, or time is over."""
        how, left = self.how, self.how.polish
        while True:
            count = self._note("loop", loop.round, loop.plan, loop.broken())
            if self._act(loop):
                count = self._note("taps", loop.round, loop.plan, loop.broken())
            if self.clean is not None:
                left -= 1
            if count == 0:
                self._keep(loop.plan)
            if (self.clean is not None and left <= 0) or loop.round >= how.rounds or not how.going():
                return
            little = count and float(loop.worst().mean()) < LITTLE
            if little and loop.round >= repairs_from and self._better(loop.plan):
                self._repaired(loop, REPAIRED_IN)
                if self.clean is not None and left <= 0:
                    return
            loop.turn()

    def _act(self, loop: Loop) -> bool:
        """Let regulators and capacitors move under the loop's plan; a clean plan stands where they stood."""
        day, levers = self.day, LEVERS
        if not self.how.taps or self.clean is not None or loop.round not in levers.rounds:
            return False
        p_kw, q_kvar = np.asarray(day.columns.sums @ loop.plan.p_kw), loop.plan.q_kvar
        now = Standing(day.feeder, day.exact, self.without)
        found = moved(now, day.limits, p_kw, day.columns.spread_kvar(q_kvar), levers)
        if found is now:
            return False
        self.day = loop.day = replace(day, feeder=found.feeder, exact=found.exact)
        self.without = found.without
        loop.take(loop.plan)
        return True

    def _repaired(self, loop: Loop, rounds: int | None) -> Dispatch:
        """The plan of the loop repaired; kept if it is clean."""
        most = MOST_ROUNDS if rounds is None else rounds
        found = repair(self._shop(loop), loop.plan, rounds=most, going=self.how.going)
        verdict = found.verdict
        left = (verdict.voltages, verdict.currents, verdict.unsolved)
        self._note("repair", len(found.rounds), found.dispatch, left)
        if verdict.clean:
            self._keep(found.dispatch)
        return found.dispatch

    def _served(self, loop: Loop, plan: Dispatch) -> Dispatch:
        """The plan after needs that yielded got what can be found for them."""
        shop = self._shop(loop)
        if not (unserved_kwh(shop, plan) > COUNTS_KWH).any() or not self.how.going():
            return plan
        found = served(shop, Kept(plan, *shop.judged(plan)), going=self.how.going)
        verdict = found.verdict
        self._note(
            "needs", loop.round, found.dispatch, (verdict.voltages, verdict.currents, verdict.unsolved)
        )
        return found.dispatch

    def _shop(self, loop: Loop) -> Workshop:
        day, columns_ = self.day, self.day.columns
        worth = np.zeros((columns_.ports, day.feeder.steps))
        worth[columns_.port] = day.price
        if loop.round:
            worth = worth + prices(loop).kwh
        return Workshop(day.feeder, day.exact, day.limits, self.bands, columns_, worth)

    def _keep(self, plan: Dispatch) -> None:
        """Keep the better one of two clean plans."""
        if self._better(plan):
            self.clean = plan

    def _better(self, plan: Dispatch) -> bool:
        """Whether a plan, were it clean, would be better than the clean one there is."""
        return self.clean is None or self._worth(plan) < self._worth(self.clean)

    def _worth(self, plan: Dispatch) -> float:
        """Cost, needs being promises: what they lack counts more than any energy is worth."""
        missing = missing_kwh(self.bands, content(self.bands, plan.p_kw))
        return self.day.value(plan.p_kw) + OWED * float(missing.sum())

    def _note(self, stage: str, turn: int, plan: Dispatch, broken: tuple[int, int, int]) -> int:
        """Log a round and what is broken after it (voltages, currents, unsolved steps); how much that is."""
        self.log.append(Progress(stage, turn, *broken, self.day.value(plan.p_kw)))
        self.how.watch(self.log[-1])
        return self.log[-1].violations
