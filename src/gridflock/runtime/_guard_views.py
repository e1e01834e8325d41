"""The guard as people see it: values shared by Python, REST, the command line and the console."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModeView:
    """What a feeder or group takes part in.

    Attributes:
        group: its id.
        title: for the screen.
        mode: ``"automatic"``, ``"advisory"`` or ``"disabled"``.
        wanted: what one person wants it to take part in beyond that, and who; empty where nobody does.
    """

    group: str
    title: str
    mode: str
    wanted: str


@dataclass(frozen=True, slots=True)
class DefaultView:
    """The kill switch while it is on.

    Attributes:
        author: who pressed it.
        why: in words.
        since: from when.
        until: it ends then by itself.
        ending: who wants it ended; two end it.
        open: resources whose order has not been taken back yet.
    """

    author: str
    why: str
    since: str
    until: str
    ending: list[str]
    open: int


@dataclass(frozen=True, slots=True)
class WaitingView:
    """A proposal, or goals, or what a system above asks, that waits for a second person.

    Attributes:
        id: of it.
        group: group or resource id.
        author: who asked, and so may not approve.
        why: in words.
        p_kw: wanted sum, or None.
        p_lo_kw: lower bound, or None.
        p_hi_kw: upper bound, or None.
        moved_kw: what it would displace.
        limit_kw: what one person may.
        until: it waits so long.
    """

    id: str
    group: str
    author: str
    why: str
    p_kw: float | None
    p_lo_kw: float | None
    p_hi_kw: float | None
    moved_kw: float
    limit_kw: float
    until: str


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """A second person's word in force."""

    proposal: str
    author: str
    by: str
    kw: float
    until: str


@dataclass(frozen=True, slots=True)
class BudgetView:
    """An external credential, or what was approved.

    Attributes:
        account: the credential, or ``"approved:"`` and what was approved.
        moved_kw: what it has moved within the window.
        held_kw: what it holds displaced now, by orders and by what it asks of the plan; it would come back.
        budget_kw: the most that both may be together; None = no limit.
    """

    account: str
    moved_kw: float
    held_kw: float
    budget_kw: float | None


@dataclass(frozen=True, slots=True)
class GuardView:
    """The guard at a glance.

    Attributes:
        modes: of every feeder section and of what else is not automatic.
        default: the kill switch, or None.
        waiting: proposals that need a second person.
        approvals: second persons' words in force.
        budgets: of those who have moved something.
        trials: authors whose first orders are being tried out on a few.
        held: orders held in the newest tick, by reason.
        window_s: length of the budgets' window.
        step_kw: largest step of one tick; None = no limit.
        approval_kw: what one person may displace; None = no limit.
    """

    modes: list[ModeView]
    default: DefaultView | None
    waiting: list[WaitingView]
    approvals: list[ApprovalView]
    budgets: list[BudgetView]
    trials: list[str]
    held: dict[str, int]
    window_s: int
    step_kw: float | None
    approval_kw: float | None
