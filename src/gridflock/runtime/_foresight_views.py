"""What the façade says of forecasts: how good they were, and which limits may break."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MarksView:
    """Marks of one method on one series over some days; None without any.

    ``nmae`` is in shares of the series' mean size, ``crps_ratio`` is against habits, ``coverage`` is the
    share of truths in the 10 to 90 % band.
    """

    series: str
    method: str
    champion: bool
    days: int
    mae_kw: float | None
    nmae: float | None
    pinball_kw: float | None
    crps_kw: float | None
    crps_ratio: float | None
    coverage: float | None


@dataclass(frozen=True, slots=True)
class DriftView:
    """A series whose forecasts no longer hold: by which rule, of which method, since when."""

    series: str
    rule: str
    method: str
    value: float | None
    since: str


@dataclass(frozen=True, slots=True)
class FaultView:
    """A fault of the data that the gate has found, and what became of it."""

    series: str
    rule: str
    start: str
    until: str
    seen: str
    repair: str


@dataclass(frozen=True, slots=True)
class HiddenSunView:
    """Solar generation that nobody has registered, behind a meter.

    ``peak_kw`` and ``expected_error`` (mean by day, in shares of the peak) are None where it cannot be
    separated, for the ``reason`` that is told; ``correlation`` is the meter's with the light.
    """

    id: str
    peak_kw: float | None
    expected_error: float | None
    correlation: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class NearView:
    """One series an hour ahead, by what plans were made from; None without marks.

    ``crps_ratio`` is against persistence, ``coverage`` the share of truths in the 10 to 90 % band, ``drift``
    that ratio over the last three days to that of the days before.
    """

    series: str
    days: int
    crps_kw: float | None
    crps_ratio: float | None
    coverage: float | None
    drift: float | None


@dataclass(frozen=True, slots=True)
class CardView:
    """The score card.

    Attributes:
        learnt_at: when it was learnt last; empty while there is too little to learn from.
        known_days: days of history there are.
        needed_days: days from which is learnt; 0: never.
        weather_until: how far the newest forecast of the weather reaches; empty without any.
        models: what was trained, with how many series.
        failed: what could not be trained; its former model stays.
        marks: every series and method.
        drift: series whose forecasts no longer hold.
        near: every series an hour ahead.
        faults: of the data.
        hidden: meters behind which there is sun that nobody has registered.
        hidden_looked: how many meters were looked through for it.
    """

    learnt_at: str
    known_days: int
    needed_days: int
    weather_until: str
    models: dict[str, int]
    failed: list[str]
    marks: list[MarksView]
    drift: list[DriftView]
    faults: list[FaultView]
    hidden: list[HiddenSunView]
    hidden_looked: int
    near: list[NearView] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HelperView:
    """Who could prevent a broken limit: by what change, house sign, and what that takes off, pu or A."""

    id: str
    move_kw: float | None
    relief: float | None


@dataclass(frozen=True, slots=True)
class LimitView:
    """A limit that may break.

    Attributes:
        kind: voltage low, voltage high or thermal.
        element: node or branch.
        chance: share of futures in which it breaks.
        start: of the step by which half of these have broken it.
        excess: nine futures in ten go no further beyond it; pu or A.
        need_kw: what would keep those inside; None where those who can help do not suffice.
        by_step: chance in each step.
        helpers: who has it, the most effective first.
    """

    kind: str
    element: str
    chance: float
    start: str
    excess: float | None
    need_kw: float | None
    by_step: list[float | None]
    helpers: list[HelperView]


@dataclass(frozen=True, slots=True)
class EmergingView:
    """Limits that may break under the plan in force, the likeliest first.

    Attributes:
        plan_made_at: the plan.
        t: edges of its steps.
        paths: how many futures.
        by: ``past days`` where futures take their ranks; ``each for itself`` where these are too few.
        unsolved: share of steps without a power-flow answer: to be added to any chance.
        limits: at most as many as were asked for.
        found: how many there are.
    """

    plan_made_at: str
    t: list[str]
    paths: int
    by: str
    unsolved: float
    limits: list[LimitView]
    found: int
