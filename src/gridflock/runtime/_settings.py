"""Settings of a running system, with defaults that suit the demo and the study alike."""

from __future__ import annotations

from dataclasses import dataclass, field

from gridflock.dispatch import Policy
from gridflock.plan.goals.stated import Stated
from gridflock.runtime._guard_limits import guarded_policy


@dataclass(frozen=True, slots=True)
class Settings:
    """How the system lives.

    Attributes:
        tick_s: fast tempo: image, arbitration, orders.
        plan_s: slow tempo: forecast and plan; a multiple of ``tick_s``.
        fine_steps: quarter-hours at the start of the plan's horizon.
        coarse_steps: hours after them.
        import_limit_kw: contractual import limit at the feeder head; inf = only the conductors'.
        export_limit_kw: the same for export.
        peak_price: money per kW of the horizon's import peak: the demand charge's daily share.
        ramp_penalty: money per kW by which the head's flow changes between two steps of the plan:
            regulators follow a slow feeder better than a jumpy one.
        tariff: whose prices the plan optimises against.
        plan_gap: how far from the best a plan may be, as a part of its cost, before it is taken.
        violation_rate: share of futures in which a head limit may break within the next quarter-hours
            (``fine_steps``): limits are lowered until it is met. 0 plans for what is expected.
        in_ac: hold every plan to the feeder's limits in AC before it is taken.
        goals: what is wanted of the plans beside tariff and limits; None keeps what the ledger has.
        own_goals: what would be wanted without the goals that one person stated: the owner's.
        goal_costs: say of every plan what each goal costs, which takes one more plan for each.
        feedback: move what is ordered by the voltages and currents that are seen, where ticks are at most
            10 s apart; else voltages are kept by envelopes. Regulators answer it: docs/feedback.md has what a
            day beside them was like.
        managed: False = watch only: no plan, no orders (the mode before trust).
        plans: False = orders without a plan: wishes and limits only.
        name: what a system above calls this one.
        default_kw: lowest and highest power at the head while a system above says nothing, as agreed with
            it; None stands alone, and nobody above is heard.
        patience_s: so long a tick waits for the way to the devices; an adapter that owes an answer for
            longer is left alone until it gives it.
        learn_days: days of history from which forecasts are learnt, anew after every local midnight; with
            fewer, habits tell. 0 learns nothing.
        past_days: so much history is kept to learn from; a change holds from the next start on.
        learn_within_s: learning goes on beside the ticks; what was learnt is taken in by the first tick so
            long after it began. Where time is paced no tick waits for it: a later one takes it in. Where a
            life goes as fast as it can that tick waits, so that two such lives are the same.
        policy: how orders are made.
    """

    tick_s: int = 60
    plan_s: int = 900
    fine_steps: int = 16
    coarse_steps: int = 20
    import_limit_kw: float = float("inf")
    export_limit_kw: float = float("inf")
    peak_price: float = 0.25
    ramp_penalty: float = 0.04
    tariff: str = "residential"
    plan_gap: float = 0.003
    violation_rate: float = 0.0
    in_ac: bool = True
    goals: Stated | None = None
    own_goals: Stated | None = None
    goal_costs: bool = False
    feedback: bool = False
    managed: bool = True
    plans: bool = True
    name: str = ""
    default_kw: tuple[float, float] | None = None
    patience_s: float = 30.0
    learn_days: int = 21
    past_days: int = 63
    learn_within_s: int = 900
    policy: Policy = field(default_factory=guarded_policy)
