"""The guard's own state: modes, approvals, the kill switch, trials, and its memory of orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch.guard._held import Mode
from gridflock.dispatch.guard._memory import Memory
from gridflock.fleet import Image
from gridflock.model import BoundSource, Capability, Outcomes, OutcomeStatus
from gridflock.units import Codes, Mask, Rows

_RESEND_S = 30
"""A revocation that was not answered goes out again after this."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A second person's word for a proposal that moves more than one person may.

    Attributes:
        proposal: its id.
        author: who asked.
        by: who approved; never the author.
        kw: displacement that was approved, kW.
        until_s: it counts until then.
    """

    proposal: str
    author: str
    by: str
    kw: float
    until_s: int

    @property
    def account(self) -> str:
        """What it moves is counted here and not against its author."""
        return f"approved:{self.proposal}"


@dataclass(frozen=True, slots=True)
class AllToDefault:
    """The kill switch while it is on: nothing goes out but revocations.

    Attributes:
        author: who pressed it.
        why: in words.
        since_s: from when.
        until_s: it ends then by itself.
        ending: who wants it ended before; two end it.
        sent_s: when revocations last went out; -1 before the first.
        first_id: answers to orders from this id on are answers to revocations; -1 before the first.
    """

    author: str
    why: str
    since_s: int
    until_s: int
    ending: frozenset[str] = frozenset()
    sent_s: int = -1
    first_id: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """An author who is being tried out.

    Attributes:
        rows: members that are asked, ascending.
        first_id: answers to orders from this id on count.
        since_s: since when.
        good: which have answered well.
        bad: which have refused or were not reached.
        rests_until_s: after a failed trial nothing of this author goes out before.
    """

    rows: Rows
    first_id: int
    since_s: int
    good: Mask
    bad: Mask
    rests_until_s: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class GuardState:
    """All that the guard knows from one tick to the next; a value, handed in and returned.

    Attributes:
        memory: orders that went out, and what moved.
        modes: of feeders and groups that are not automatic.
        approvals: by proposal id.
        default: the kill switch; None = off.
        proven: authors whose first orders were answered well, under this policy.
        trials: authors who are being tried out.
        policy: mark of the policy that ``proven`` speaks of.
        now_s: moment of the last pass; -1 before the first.
    """

    memory: Memory
    modes: Mapping[str, Mode] = field(default_factory=dict)
    approvals: Mapping[str, Approval] = field(default_factory=dict)
    default: AllToDefault | None = None
    proven: frozenset[str] = frozenset()
    trials: Mapping[str, Trial] = field(default_factory=dict)
    policy: str = ""
    now_s: int = -1

    @classmethod
    def empty(cls, n: int) -> GuardState:
        """Everything automatic, nobody asked yet."""
        return cls(Memory.empty(n))

    # ---- what people set --------------------------------------------------------------------------

    def with_mode(self, group: str, mode: Mode) -> GuardState:
        """A feeder or group takes part in so much from now on."""
        modes = {name: held for name, held in self.modes.items() if name != group}
        if mode is not Mode.AUTOMATIC:
            modes[group] = mode
        return replace(self, modes=modes)

    def with_approval(self, approval: Approval) -> GuardState:
        """A second person's word; the author's own counts for nothing."""
        if approval.by == approval.author:
            return self
        return replace(self, approvals={**self.approvals, approval.proposal: approval})

    def all_to_default(self, author: str, why: str, since_s: int, until_s: int) -> GuardState:
        """Press the kill switch; pressed again it lasts at least as long."""
        if self.default is not None:
            until_s = max(until_s, self.default.until_s)
        return replace(self, default=AllToDefault(author, why, since_s, until_s))

    def end_default(self, by: str) -> GuardState:
        """One person wants it ended; with the second it is."""
        if self.default is None:
            return self
        ending = self.default.ending | {by}
        return replace(self, default=None if len(ending) > 1 else replace(self.default, ending=ending))

    # ---- what time and the world bring ----------------------------------------------------------------

    def at(self, now_s: int) -> GuardState:
        """What has ended by now is over."""
        state = replace(self, memory=self.memory.released(now_s))
        if state.default is not None and state.default.until_s <= now_s:
            state = replace(state, default=None)
        if any(given.until_s <= now_s for given in state.approvals.values()):
            left = {name: given for name, given in state.approvals.items() if given.until_s > now_s}
            state = replace(state, approvals=left)
        return state

    def heard(self, rows: NDArray[np.int64], outcomes: Outcomes, now_s: int) -> GuardState:
        """Take answers in; ``rows`` are the resources of ``outcomes``, -1 where unknown."""
        known = rows >= 0
        at, order_id = rows[known].astype(np.int32), outcomes.order_id[known]
        status = outcomes.status[known]
        good = (status == OutcomeStatus.ACCEPTED) | (status == OutcomeStatus.PARTIAL)
        memory, default = self.memory, self.default
        # Who refused or was not reached has not moved: asked again, it is counted again.
        over = ~good & (order_id == memory.order_id[at])
        if default is not None and default.first_id >= 0:
            over |= good & (order_id >= default.first_id)
        memory = memory.forgotten(np.unique(at[over]), now_s)
        trials = {name: _answered(trial, at, order_id, good) for name, trial in self.trials.items()}
        return replace(self, memory=memory, trials=trials)

    # ---- what others may know ----------------------------------------------------------------------

    def mode_of(self, n: int, rows_of: Mapping[str, Rows]) -> Codes:
        """uint8 (n,) ``Mode`` of every row, the strictest of its groups; a lost group holds everybody."""
        mode = np.zeros(n, dtype=np.uint8)
        for group, held in self.modes.items():
            rows = rows_of[group] if group in rows_of else slice(None)
            mode[rows] = np.maximum(mode[rows], held)
        return mode

    def narrowed(self, capability: Capability, image: Image, rows_of: Mapping[str, Rows]) -> Capability:
        """Capability without those that receive nothing: they are counted with what they do."""
        if self.default is None and Mode.DISABLED not in self.modes.values():
            return capability
        out = self.mode_of(image.n, rows_of) == Mode.DISABLED
        if self.default is not None and self.default.until_s > image.now_s:
            out[:] = True
        present = np.nan_to_num(np.asarray(image.p_kw, dtype=np.float64))
        source = np.uint8(BoundSource.NOT_READY)
        return Capability(
            np.where(out, present, capability.p_lo_kw),
            np.where(out, present, capability.p_hi_kw),
            np.where(out, source, capability.lo_source).astype(np.uint8),
            np.where(out, source, capability.hi_source).astype(np.uint8),
        )

    def to_revoke(self, mode: Codes, now_s: int, next_id: int) -> tuple[Rows, GuardState]:
        """Rows whose order in force is to be revoked now; those that receive nothing are left alone."""
        default = self.default
        if default is None or (default.sent_s >= 0 and now_s - default.sent_s < _RESEND_S):
            return np.zeros(0, dtype=np.int32), self
        rows = np.flatnonzero((self.memory.expires_s > now_s) & (mode == Mode.AUTOMATIC)).astype(np.int32)
        first = default.first_id if default.first_id >= 0 else next_id
        pressed = replace(default, sent_s=now_s, first_id=first)
        return rows, replace(self, default=pressed, memory=self.memory.released(now_s, everybody=True))


def _answered(trial: Trial, rows: Rows, order_id: NDArray[np.int64], good: Mask) -> Trial:
    """A trial with further answers."""
    place = np.searchsorted(trial.rows, rows)
    inside = place < len(trial.rows)
    place, rows, order_id, good = place[inside], rows[inside], order_id[inside], good[inside]
    mine = (trial.rows[place] == rows) & (order_id >= trial.first_id)
    if not mine.any():
        return trial
    well, badly = trial.good.copy(), trial.bad.copy()
    well[place[mine & good]], badly[place[mine & ~good]] = True, True
    return replace(trial, good=well, bad=badly & ~well)
