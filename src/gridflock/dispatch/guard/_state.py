"""The guard's own state from tick to tick: its memory of orders, trials, and what is being revoked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch.guard._limits import GuardLimits
from gridflock.dispatch.guard._memory import Memory, Sent
from gridflock.dispatch.guard._rules import AllToDefault
from gridflock.dispatch.guard._swings import Swings
from gridflock.dispatch.guard._trial import Trial
from gridflock.model import Orders, Outcomes, OutcomeStatus
from gridflock.units import NEVER_S, Kw


@dataclass(frozen=True, slots=True)
class Revoking:
    """How far "all to default" has got, or how far orders have come again after it.

    Attributes:
        since_s: moment of the switch that is being obeyed; -1 where none is.
        begun_s: from when on turns to be taken back are counted.
        first_id: answers to orders from this id on are answers to revocations.
        back_s: from when on turns to come again are counted; -1 while the switch is on.
    """

    since_s: int = NEVER_S
    begun_s: int = NEVER_S
    first_id: int = NEVER_S
    back_s: int = NEVER_S

    def at(
        self, default: AllToDefault | None, now_s: int, before_s: int, next_id: int, limits: GuardLimits
    ) -> Revoking:
        """The same in a pass at ``now_s``, the last one having been at ``before_s``.

        Turns count from the moment of the switch, or from the last pass under it: some have come at once. But
        however long ago that was, no more than half.
        """
        if default is not None:
            if self.since_s == default.since_s and self.back_s == NEVER_S:
                return self
            begun_s = max(default.since_s, now_s - limits.take_back_s // 2)
            return Revoking(default.since_s, begun_s, next_id)
        if self.since_s == NEVER_S:
            return self
        if self.back_s == NEVER_S:
            return replace(self, back_s=max(before_s, now_s - limits.return_s // 2))
        return self if now_s < self.back_s + limits.return_s else Revoking()

    def later(self, leapt_s: int) -> Revoking:
        """The same after a clock was set ahead: nobody's turn has come nearer."""
        return replace(
            self,
            begun_s=self.begun_s + leapt_s * (self.begun_s != NEVER_S),
            back_s=self.back_s + leapt_s * (self.back_s != NEVER_S),
        )


@dataclass(frozen=True, slots=True, eq=False)
class GuardState:
    """All that the guard knows from one tick to the next; a value, handed in and returned.

    Attributes:
        memory: orders that went out, and what moved.
        proven: authors whose first orders were answered well, under this policy.
        trials: authors who are not proven: watched, tried out, or at rest.
        policy: mark of the policy that ``proven`` speaks of.
        revoking: how far "all to default" has got, and the return from it.
        now_s: moment of the last pass; -1 before the first.
        swings: which way orders move the groups whose changes of direction are counted.
    """

    memory: Memory
    proven: frozenset[str] = frozenset()
    trials: Mapping[str, Trial] = field(default_factory=dict)
    policy: str = ""
    revoking: Revoking = field(default_factory=Revoking)
    now_s: int = NEVER_S
    swings: Swings = field(default_factory=dict)

    @classmethod
    def empty(cls, n: int) -> GuardState:
        """Nobody asked yet."""
        return cls(Memory.empty(n))

    def heard(self, rows: NDArray[np.integer], outcomes: Outcomes, now_s: int) -> GuardState:
        """Take answers in; ``rows`` are the resources of ``outcomes``, -1 where unknown."""
        known = (rows >= 0) & (rows < len(self.memory.holder))
        at, order_id = rows[known].astype(np.int32), outcomes.order_id[known]
        status = outcomes.status[known]
        good = (status == OutcomeStatus.ACCEPTED) | (status == OutcomeStatus.PARTIAL)
        memory, revoking = self.memory, self.revoking
        # Who refused has not moved, and who was not reached may have: asked again, both are counted again.
        newest, lost = order_id == memory.order_id[at], status == OutcomeStatus.UNREACHABLE
        memory = memory.forgotten(np.unique(at[~good & ~lost & newest]), now_s)
        memory = memory.unheard(np.unique(at[lost & newest]), now_s)
        if revoking.since_s != NEVER_S and revoking.back_s == NEVER_S:
            memory = memory.ended(np.unique(at[good & (order_id >= revoking.first_id)]), now_s)
        trials = {name: trial.answered(at, order_id, good) for name, trial in self.trials.items()}
        return replace(self, memory=memory, trials=trials)

    def later(self, leapt_s: int) -> GuardState:
        """The same after a clock was set ahead: what nobody lived empties no window and ends no rest."""
        if leapt_s == 0:
            return self
        trials = {name: trial.later(leapt_s) for name, trial in self.trials.items()}
        now_s = self.now_s + leapt_s * (self.now_s >= 0)
        memory, revoking = self.memory.later(leapt_s), self.revoking.later(leapt_s)
        swings = {name: (kw.later(leapt_s), kvar.later(leapt_s)) for name, (kw, kvar) in self.swings.items()}
        return replace(self, memory=memory, trials=trials, revoking=revoking, now_s=now_s, swings=swings)

    def lived(
        self,
        orders: Orders,
        start_kw: Kw,
        accounts: Sequence[str],
        plates: tuple[Kw, Kw, Kw],
        limits: GuardLimits,
        moved: Mapping[str, float],
    ) -> GuardState:
        """Take up orders that went out before this state was made, as a ledger tells of them.

        Args:
            orders: they; where all of them leave everything to the devices they are revocations.
            start_kw: (k,) power that each change was counted from.
            accounts: of each of ``orders.sources``, on whose account it moved; empty for the program's own.
            plates: (n,) least and most that each resource injects, kW, and its rating, kVA.
            limits: how long is remembered.
            moved: kW that they moved in each limited group.
        """
        now_s, rows = orders.issued_s, orders.index
        memory, p_kw = self.memory.released(now_s), orders.p_kw.astype(np.float64)
        q_kvar = np.full(len(rows), np.nan) if orders.q_kvar is None else orders.q_kvar
        if len(rows) and np.isnan(p_kw).all() and np.isnan(q_kvar).all():
            return replace(self, memory=memory.revoked(rows, now_s), now_s=now_s)
        names = tuple(dict.fromkeys(name for name in accounts if name))
        place = np.array([*(names.index(name) if name else -1 for name in accounts), -1], dtype=np.int32)
        account = np.where(np.isnan(p_kw), np.int32(-1), place[orders.source])
        sent = Sent(
            rows, p_kw, start_kw.astype(np.float64), orders.expires_s, orders.order_id, account, names,
            q_kvar.astype(np.float64),
        )  # fmt: skip
        return replace(self, memory=memory.took(sent, plates, now_s, limits, moved), now_s=now_s)
