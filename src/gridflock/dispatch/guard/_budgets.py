"""Budgets of external credentials, and what needs a second person."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gridflock.dispatch.guard import _kernels
from gridflock.dispatch.guard._asked import Moves
from gridflock.dispatch.guard._held import Held
from gridflock.dispatch.guard._limits import OWN, GuardLimits
from gridflock.dispatch.guard._rules import Approval
from gridflock.dispatch.guard._state import GuardState
from gridflock.fleet import Image
from gridflock.model import Priority, Proposal
from gridflock.schema import Family
from gridflock.units import Codes, Rows

_OURS = (Priority.SAFETY, Priority.ENVELOPE, Priority.SCHEDULE)
_SLACK_KW = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """On whose account each proposal moves.

    Attributes:
        accounts: credentials, and approved proposals in their own name.
        account: int32 (proposals + 1,) position in ``accounts``; -1 for the program's own, and at the end.
        approvals: of each account; None where it is a credential.
    """

    accounts: tuple[str, ...]
    account: Rows
    approvals: tuple[Approval | None, ...]

    @classmethod
    def of(cls, proposals: Sequence[Proposal], rules: Rules, limits: GuardLimits) -> Asking:
        """Accounts of proposals; a second person's word counts where it is not the author's own."""
        places: dict[str, int] = {}
        approvals: list[Approval | None] = []
        account = np.full(len(proposals) + 1, -1, dtype=np.int32)
        bounded = (
            bool(limits.budgets) or min(limits.budget_kw, limits.budget_share, limits.approval_kw) < math.inf
        )
        for k, wish in enumerate(proposals):
            if not bounded or not external(wish):
                continue
            given = rules.approvals.get(wish.id)
            if given is not None and not _counts(given, wish):
                given = None
            name = wish.author if given is None else given.account
            if name not in places:
                places[name] = len(places)
                approvals.append(given)
            account[k] = places[name]
        return cls(tuple(places), account, tuple(approvals))


def external(wish: Proposal) -> bool:
    """Whether a proposal came from outside: neither the program's own wish nor code in its process."""
    return wish.author not in OWN or (wish.author in ("plan", "grid") and wish.priority not in _OURS)


def _counts(given: Approval, wish: Proposal) -> bool:
    return given.author == wish.author and given.by != wish.author


def fleet_kw(image: Image) -> float:
    """Size of the fleet that takes orders: each resource by its larger side, kW."""
    low, high = image.columns["p_min_kw"], image.columns["p_max_kw"]
    size = np.maximum(-low, high)
    return float(size[image.family != Family.NONE].sum(dtype=np.float64))


def hold_unapproved(
    why: Codes, moves: Moves, asking: Asking, account: Rows, limits: GuardLimits, state: GuardState
) -> None:
    """Hold, whole, proposals that would let one person displace more than one may, in place.

    What their author holds displaced already counts, so that many small proposals are one large one.
    """
    if limits.approval_kw == math.inf or not asking.accounts:
        return
    memory, good = state.memory, (why == Held.NOT) & (account >= 0)
    away = np.maximum(moves.away, 0.0)
    asked = np.bincount(account[good], away[good], minlength=len(asking.accounts))
    place = {name: k for k, name in enumerate(memory.accounts)}
    for k in np.flatnonzero(asked > 0).tolist():
        if asking.approvals[k] is not None:
            continue
        name = asking.accounts[k]
        room = limits.approval_kw - (float(memory.held_kw[place[name]]) if name in place else 0.0)
        if asked[k] <= room + _SLACK_KW:
            continue
        mine = good & (account == k)
        for source in np.unique(moves.source[mine]).tolist():
            its = mine & (moves.source == source)
            wanted = float(away[its].sum())
            if wanted <= room + _SLACK_KW:
                room -= wanted
            else:
                why[its & (away > 0.0)] = Held.APPROVAL


def hold_budgets(
    why: Codes,
    moves: Moves,
    asking: Asking,
    account: Rows,
    image: Image,
    limits: GuardLimits,
    state: GuardState,
) -> None:
    """Hold what would let a credential move more than its budget in any window, in place.

    Way there and way back both count: what an account has moved within the window and what it holds
    displaced now, which would come back if it let go, are together at most its budget.
    """
    if not asking.accounts:
        return
    memory, good = state.memory, (why == Held.NOT) & (account >= 0)
    extra = np.maximum(moves.extra, 0.0)
    asked = np.bincount(account[good], extra[good], minlength=len(asking.accounts))
    size_kw = fleet_kw(image) if limits.budget_share < math.inf else math.inf
    place = {name: k for k, name in enumerate(memory.accounts)}
    for k in np.flatnonzero(asked > 0).tolist():
        name, given = asking.accounts[k], asking.approvals[k]
        most = limits.budget_of(name, size_kw) if given is None else 2.0 * given.kw
        used = memory.spent_kw(name, image.now_s, limits.window_s)
        used += float(memory.held_kw[place[name]]) if name in place else 0.0
        if asked[k] <= most - used:
            continue
        mine = moves.ranked(good & (account == k))
        why[mine[~_kernels.first_fit(extra[mine], most - used)]] = Held.BUDGET
