"""Limits lowered by the error they must absorb, tuned until they break as seldom as wanted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from gridflock.model import Flexibility, Schedule
from gridflock.plan._check import misshapen, sound
from gridflock.plan._plan import plan
from gridflock.plan._reason import span_text
from gridflock.plan._terms import Band, Block, Terms
from gridflock.plan.scenario._faults import limit_faults, path_faults
from gridflock.plan.scenario._paths import Floats, Paths
from gridflock.plan.scenario._rate import Row, broken, chance_above, expected_cost, rows_of, upper_bound
from gridflock.units import Kw

_LADDER = (0.75, 1.5, 2.0, 2.5, 3.0, 3.75, 4.5, 6.0)
"""Normal scores of the margins tried one after the other until one is enough: where the groups cannot make
room for a large margin, a larger one may break more, so the search begins at the small ones."""
_ROUNDS = 7
"""Bisections below it."""
_LEVELS = np.concatenate([np.arange(0.5, 0.95, 0.05), [0.95, 0.97, 0.98, 0.99]])
_SIZES = tuple(int(n) for n in np.round(np.geomspace(100, 1e6, 41), -2))
_FORESEEN = 24
"""Paths for which it is asked whether knowing them beforehand would help."""


@dataclass(frozen=True, slots=True, eq=False)
class BackedOff:
    """A schedule that breaks its limits as seldom as wanted, or the names of those that stand against it.

    Attributes:
        schedule: the plan under lowered limits.
        terms: the lowered limits.
        target: the wanted share of futures with any limit broken.
        met: whether the target is met at the confidence asked for.
        level: of the error quantile by which limits were lowered, 0.5 for not at all.
        rate: share of the tuning paths with any limit broken.
        rate_at_most: upper confidence bound of the true share.
        nominal_rate: share of the tuning paths with any limit broken without lowering.
        price: what caution costs: expected money of this schedule less that of the nominal one.
        named: where the target is out of reach: which limits, when, how often, and whether knowing the
            future would have helped.
    """

    schedule: Schedule
    terms: Terms
    target: float
    met: bool
    level: float
    rate: float
    rate_at_most: float
    nominal_rate: float
    price: float
    named: tuple[str, ...]


def backed_off(
    flexibility: Flexibility,
    fixed: Kw,
    terms: Terms,
    paths: Paths,
    target: float,
    now_s: int,
    *,
    confidence: float = 0.99,
    unseen: int = 1_000,
    steps: int | None = None,
    timezone: str = "UTC",
) -> BackedOff:
    """Plan under limits lowered by an error quantile, the level found by bisection out of sample.

    The first half of the paths gives each limit's error quantiles per step, the second half tells how
    often the schedule made under them would break any limit. A level counts as good if the chance that
    more than the target's share of ``unseen`` new futures break is small enough (beta-binomial), what is
    allowed being shared among all levels tried; the least good level is taken. So the target is missed on
    so many new futures with at most ``1 - confidence``, as far as the paths are drawn from the truth.
    Terms that can be mended are (``plan`` says how, as its reasons). Nothing is promised, and ``named`` says
    why, for paths with unknown power or of another shape, limits without any number or a target that is none.

    Args:
        flexibility: G groups over T steps.
        fixed: (T,) expected kW of everything that takes no orders.
        terms: the true limits.
        paths: futures, at least some hundreds; they carry equal weights here.
        target: share of futures in which any limit may break in any of the steps.
        now_s: moment of planning.
        confidence: of the promise.
        unseen: for how many new futures together it is made.
        steps: how many of the first steps count; all where None.
        timezone: IANA name, for times in words.
    """
    nominal = plan(flexibility, fixed, terms, now_s)
    if misshapen(flexibility, fixed, terms) or not np.isfinite(nominal.cost):
        why = "; ".join(reason.row for reason in nominal.reasons[:3])
        return _unplanned(nominal, terms, target, (f"no plan to be careful with: {why}",))
    until = flexibility.grid.n if steps is None else steps
    asked = _Aim(target, confidence, unseen, until)
    if faults := (*asked.faults(), *path_faults(flexibility, paths), *limit_faults(terms)):
        return _unplanned(nominal, terms, target, faults)
    given = sound(flexibility, fixed, terms)
    aim = replace(asked, confidence=1.0 - (1.0 - confidence) / (1 + len(_LADDER) + _ROUNDS))
    return _Tuning(given.flexibility, given.fixed_kw, given.terms, paths, now_s, aim).tuned(nominal, timezone)


@dataclass(frozen=True, slots=True)
class _Aim:
    """What is to be reached: target, confidence of each try, over how many futures and steps."""

    target: float
    confidence: float
    unseen: int
    steps: int

    def reached(self, count: int, of: int) -> bool:
        """Whether ``count`` breaks in ``of`` paths are few enough."""
        return chance_above(self.target, self.unseen, count, of) <= 1.0 - self.confidence

    def faults(self) -> tuple[str, ...]:
        """What of it cannot be aimed at, in words."""
        found = (
            (0.0 <= self.target <= 1.0, f"target: {self.target} (rule: a share from 0 to 1)"),
            (0.0 < self.confidence < 1.0, f"confidence: {self.confidence} (rule: above 0 and below 1)"),
            (self.unseen >= 1, f"unseen: {self.unseen} (rule: at least 1 future)"),
            (self.steps >= 1, f"steps: {self.steps} (rule: at least 1)"),
        )
        return tuple(text for holds, text in found if not holds)


class _Tuning:
    """The search for the least caution that is enough."""

    def __init__(
        self,
        f: Flexibility,
        fixed_kw: Kw,
        terms: Terms,
        paths: Paths,
        now_s: int,
        aim: _Aim,
    ) -> None:
        self._f, self._fixed, self._terms, self._now_s, self._aim = f, fixed_kw, terms, now_s, aim
        half = paths.n // 2
        self._tune = paths.part(half, paths.n)
        learn = rows_of(f, fixed_kw, terms, paths.part(0, half), f.base_kw)
        self._quantile = [_quantiles(row) for row in learn]

    def tuned(self, nominal: Schedule, timezone: str) -> BackedOff:
        """The first rung of caution that is enough, then bisection below it."""
        nominal_rate = self._count(nominal) / self._tune.n
        tried = {0.0: (self._terms, nominal)}
        low = high = 0.0
        met = self._good(nominal)
        for score in () if met else _LADDER:
            tried[score] = self._planned(score)
            met = self._good(tried[score][1])
            if met:
                high = score
                break
            low = score
        for _ in range(_ROUNDS if high else 0):
            middle = 0.5 * (low + high)
            tried[middle] = self._planned(middle)
            low, high = (low, middle) if self._good(tried[middle][1]) else (middle, high)
        if not met:
            high = min(tried, key=lambda score: (self._count(tried[score][1]), score))
        terms, schedule = tried[high]
        return BackedOff(
            schedule=schedule,
            terms=terms,
            target=self._aim.target,
            met=met,
            level=float(ndtr(high)),
            rate=self._count(schedule) / self._tune.n,
            rate_at_most=self._bound(schedule),
            nominal_rate=nominal_rate,
            price=self._money(schedule) - self._money(nominal),
            named=() if met else (*self._named(schedule, timezone), *self._too_few()),
        )

    def _planned(self, score: float) -> tuple[Terms, Schedule]:
        """Terms lowered by a normal score, and the plan under them."""
        terms = lowered(self._terms, [_margin(quantile, score) for quantile in self._quantile])
        return terms, plan(self._f, self._fixed, terms, self._now_s)

    def _rows(self, schedule: Schedule) -> tuple[Row, ...]:
        return rows_of(self._f, self._fixed, self._terms, self._tune, schedule.p_kw)

    def _count(self, schedule: Schedule) -> int:
        """How many tuning paths break a limit in the steps that count."""
        return int(broken(self._rows(schedule), self._aim.steps).sum())

    def _good(self, schedule: Schedule) -> bool:
        return self._aim.reached(self._count(schedule), self._tune.n)

    def _bound(self, schedule: Schedule) -> float:
        """Upper confidence bound of the share that breaks one."""
        return upper_bound(self._count(schedule), self._tune.n, self._aim.confidence)

    def _money(self, schedule: Schedule) -> float:
        """Expected money over the tuning paths, penalties left out."""
        return expected_cost(self._f, self._terms, self._tune, schedule.p_kw)

    def _named(self, schedule: Schedule, timezone: str) -> tuple[str, ...]:
        """Which limits still break, when and how often, the worst first."""
        found = []
        for row in self._rows(schedule):
            beyond = row.beyond_kw()[:, : self._aim.steps]
            often = (beyond > 0).mean(axis=0)
            if not often.any():
                continue
            at = np.flatnonzero(often >= 0.5 * often.max())
            when = span_text(self._f.grid, int(at[0]), int(at[-1]), timezone)
            share = float((beyond > 0).any(axis=1).mean())
            text = f"{row.name}, {when}: broken in {share:.1%} of futures, by up to {beyond.max():.1f} kW"
            found.append((-share, text))
        words = [text for _, text in sorted(found)]
        return (*words, self._foreseen()) if words else ()

    def _too_few(self) -> tuple[str, ...]:
        """Said where not even paths without any break could prove the target."""
        if self._aim.reached(0, self._tune.n):
            return ()
        enough = next((n for n in _SIZES if self._aim.reached(0, n)), 0)
        few = f"too few paths to promise {self._aim.target:.1%} of {self._aim.unseen} futures"
        return (f"{few}: {2 * enough} would do" if enough else f"{few}: no number of them could",)

    def _foreseen(self) -> str:
        """Whether a plan made for the very path would hold."""
        count, asked = 0, min(_FORESEEN, self._tune.n)
        for k in range(asked):
            path = self._tune.part(k, k + 1)
            able = self._f if path.base_kw is None else replace(self._f, base_kw=path.base_kw[0])
            schedule = plan(able, path.fixed_kw[0], self._terms, self._now_s)
            rows = rows_of(able, path.fixed_kw[0], self._terms, path, schedule.p_kw)
            count += int(broken(rows, self._aim.steps)[0])
        return f"of {asked} futures, {count} could not be kept even by a plan that knew them beforehand"


def _quantiles(row: Row) -> tuple[Floats, Floats]:
    """Error quantiles towards the lower and the upper bound, (levels, T) each."""
    level = np.quantile(row.error_kw, _LEVELS, axis=0)
    below = np.quantile(-row.error_kw, _LEVELS, axis=0)
    return np.asarray(below), np.asarray(level)


def _margin(quantile: tuple[Floats, Floats], score: float) -> tuple[Kw, Kw]:
    """Margins (T,) at the lower and the upper bound for a normal score, never below 0."""
    knots, at = ndtri(_LEVELS), np.array([score])
    sides = [np.array([_lined(at, knots, column)[0] for column in side.T]) for side in quantile]
    return np.maximum(sides[0], 0.0), np.maximum(sides[1], 0.0)


def _inwards(lo: Kw | float, hi: Kw | float, below: Kw | float, above: Kw | float) -> tuple[Kw, Kw]:
    """Bounds moved towards each other; where they would cross they meet, where they did they stay."""
    inner_lo, inner_hi = np.asarray(lo + below), np.asarray(hi - above)
    meet = (inner_lo > inner_hi) & np.isfinite(inner_lo) & np.isfinite(inner_hi)
    middle = np.where(meet, 0.5 * (np.where(meet, inner_lo, 0.0) + np.where(meet, inner_hi, 0.0)), 0.0)
    # Each stays within what was asked: a middle beyond a bound would break it for nothing.
    middle = np.minimum(np.maximum(middle, lo), hi)
    crossed = np.asarray(lo) > np.asarray(hi)
    inner_lo = np.where(crossed, lo, np.where(meet, middle, inner_lo))
    return inner_lo, np.where(crossed, hi, np.where(meet, middle, inner_hi))


def _unplanned(schedule: Schedule, terms: Terms, target: float, why: tuple[str, ...]) -> BackedOff:
    """The plan as it is, nothing promised, and why."""
    absent = float("nan")
    return BackedOff(
        schedule=schedule,
        terms=terms,
        target=target,
        met=False,
        level=absent,
        rate=absent,
        rate_at_most=absent,
        nominal_rate=absent,
        price=absent,
        named=why,
    )


def lowered(terms: Terms, margins: list[tuple[Kw, Kw]]) -> Terms:
    """The terms with every limit moved inwards, in the order of ``rows_of``.

    An envelope has one bound for all its steps and takes its largest margin; bounds that would cross
    meet in the middle.
    """
    (below_head, _), (_, above_head), *others = margins
    limits, k = [], 0
    blocks: list[Block] = []
    for limit in terms.group_limits:
        below, above = others[k]
        lo, hi = _inwards(limit.p_lo_kw, limit.p_hi_kw, below.max(), above.max())
        limits.append(replace(limit, p_lo_kw=float(lo), p_hi_kw=float(hi)))
        k += 1
    for block in terms.blocks:
        if isinstance(block, Band):
            lo, hi = _inwards(block.lo_kw, block.hi_kw, *others[k])
            blocks.append(replace(block, lo_kw=lo, hi_kw=hi))
            k += 1
        else:
            blocks.append(block)
    return replace(
        terms,
        import_limit_kw=np.maximum(terms.import_limit_kw - below_head, 0.0),
        export_limit_kw=np.maximum(terms.export_limit_kw - above_head, 0.0),
        group_limits=tuple(limits),
        blocks=tuple(blocks),
    )


def _lined(at: Floats, knots: Floats, values: Kw) -> Floats:
    """Values read off a line through knots, its ends continued."""
    inner: Floats = np.interp(at, knots, values)
    if len(knots) < 2:
        return inner
    left = (values[1] - values[0]) / (knots[1] - knots[0])
    right = (values[-1] - values[-2]) / (knots[-1] - knots[-2])
    inner += np.minimum(at - knots[0], 0.0) * left + np.maximum(at - knots[-1], 0.0) * right
    return inner
