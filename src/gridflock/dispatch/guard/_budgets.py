"""Budgets of external credentials, and what needs a second person."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gridflock.dispatch.guard import _fitting
from gridflock.dispatch.guard._asked import Moves
from gridflock.dispatch.guard._held import Held
from gridflock.dispatch.guard._limits import GuardLimits
from gridflock.dispatch.guard._rules import Approval, Rules
from gridflock.dispatch.guard._state import GuardState
from gridflock.fleet import Image
from gridflock.model import Proposal
from gridflock.units import Codes, Rows


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
        for k, wish in enumerate(proposals):
            if not limits.bounds_people or not limits.external(wish):
                continue
            given = rules.approval_of(wish.id, wish.author)
            name = wish.author if given is None else given.account
            if name not in places:
                places[name] = len(places)
                approvals.append(given)
            account[k] = places[name]
        return cls(tuple(places), account, tuple(approvals))

    @property
    def names(self) -> tuple[str, ...]:
        """Of each proposal, on whose account it moves; empty for the program's own."""
        return tuple(self.accounts[k] if k >= 0 else "" for k in self.account[:-1].tolist())


def hold_unapproved(
    why: Codes, moves: Moves, asking: Asking, account: Rows, limits: GuardLimits, state: GuardState
) -> None:
    """Hold, whole, proposals that would let one person displace more than one may, in place.

    What their author holds displaced already counts, so that many small proposals are one large one.
    Of an approved one as much goes as was approved, and what has become more of it since is held.
    """
    if limits.approval_kw == math.inf or not asking.accounts:
        return
    most = np.array([limits.approval_kw if given is None else given.kw for given in asking.approvals])
    room_kw = most - state.memory.held_by(asking.accounts)
    source, nobody = moves.source.astype(np.int64), np.int32(-1)
    alone = np.array([*(given is None for given in asking.approvals), True])[account]
    mine, approved = np.where(alone, account, nobody), np.where(alone, nobody, account)
    _fitting.fit_proposals(why, source, mine, moves.away_kw, asking.account, room_kw, Held.APPROVAL)
    away_kw = np.maximum(moves.away_kw, 0.0)
    _fitting.fit_accounts(why, moves.turn, approved, away_kw, room_kw, Held.APPROVAL)


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
    size_kw = limits.fleet_kw(image) if limits.budget_share < math.inf else math.inf
    most = [
        limits.budget_of(name, size_kw) if given is None else 2.0 * given.kw
        for name, given in zip(asking.accounts, asking.approvals, strict=True)
    ]
    spent = [state.memory.spent_kw(name, image.now_s, limits.window_s) for name in asking.accounts]
    room_kw = np.array(most) - np.array(spent) - state.memory.held_by(asking.accounts)
    extra = np.maximum(moves.extra_kw, 0.0)
    good = (why == Held.NOT) & (account >= 0)
    if (np.bincount(account[good], extra[good], minlength=len(room_kw)) > room_kw).any():
        _fitting.fit_accounts(why, moves.turn, account, extra, room_kw, Held.BUDGET)
