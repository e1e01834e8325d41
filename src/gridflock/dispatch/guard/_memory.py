"""What the guard remembers of every resource and of every account, independent of who plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch.guard import _kernels
from gridflock.dispatch.guard._limits import GuardLimits
from gridflock.units import NEVER_S, Kvar, Kw, Rows, Seconds

Spent = Mapping[str, tuple[tuple[int, float], ...]]


GROUP = "group:"
"""Of such names are the accounts of groups."""


@dataclass(frozen=True, slots=True, eq=False)
class Diverted:
    """By how much targets are others than they would be, because somebody asked something of the plan.

    Attributes:
        account: on which it counts.
        by_kw: float32 (n,).
    """

    account: str
    by_kw: Kw


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """The orders that went out, row by row, and what moved, account by account.

    Attributes:
        last_kw: float32 (n,) power of the last order; NaN where it left that to the device.
        expires_s: (n,) when that order ends.
        issued_s: (n,) when it went out.
        order_id: int64 (n,) its id; -1 where none was sent.
        base_kw: float32 (n,) where the resource comes back to when an external credential lets go.
        holder: int32 (n,) position in ``accounts`` of who holds it displaced; -1 where nobody does.
        turn: int8 (n,) direction of the last change.
        turn_s: float64 (n,) reversals as a moment: each adds its share of the window (a leaky
            bucket as in the generic cell rate algorithm of ITU-T I.371).
        last_kvar: float32 (n,) reactive power of the last order; NaN where it left that to the device.
        turn_kvar: int8 (n,) direction of its last change.
        turn_kvar_s: float64 (n,) its reversals, as ``turn_s``.
        accounts: external credentials and approved proposals that hold or held something.
        held_kw: float64 (accounts,) displacement that each holds now.
        spent: moments and kW moved, of accounts and of limited groups, within the longest window.
        doubted: ends, accounts and kW of orders that were told to have reached nobody: an answer may have
            been lost and the order be in force, so that what it displaces counts until it would have ended.
        diverted: by what was asked of the plan, by how much targets are others than without it.
    """

    last_kw: Kw
    expires_s: Seconds
    issued_s: Seconds
    order_id: NDArray[np.int64]
    base_kw: Kw
    holder: Rows
    turn: NDArray[np.int8]
    turn_s: NDArray[np.float64]
    last_kvar: Kvar
    turn_kvar: NDArray[np.int8]
    turn_kvar_s: NDArray[np.float64]
    accounts: tuple[str, ...]
    held_kw: Kw
    spent: Spent
    doubted: tuple[tuple[int, str, float], ...] = ()
    diverted: Mapping[str, Diverted] = field(default_factory=dict)

    @classmethod
    def empty(cls, n: int) -> Memory:
        """Nobody has been asked anything."""
        never = np.full(n, NEVER_S, dtype=np.int64)
        nothing = np.full(n, np.nan, dtype=np.float32)
        return cls(
            last_kw=nothing,
            expires_s=never,
            issued_s=never,
            order_id=never,
            base_kw=nothing,
            holder=np.full(n, -1, dtype=np.int32),
            turn=np.zeros(n, dtype=np.int8),
            turn_s=np.zeros(n),
            last_kvar=nothing,
            turn_kvar=np.zeros(n, dtype=np.int8),
            turn_kvar_s=np.zeros(n),
            accounts=(),
            held_kw=np.zeros(0),
            spent={},
        )

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """The columns of rows as the loops take them."""
        return (
            self.last_kw,
            self.expires_s,
            self.issued_s,
            self.base_kw,
            self.holder,
            self.turn,
            self.turn_s,
        )

    @property
    def reactive(self) -> tuple[NDArray[Any], ...]:
        """The columns of rows that tell of reactive power, as the loops take them."""
        return self.last_kvar, self.expires_s, self.issued_s, self.turn_kvar, self.turn_kvar_s

    def copied(self) -> Memory:
        """The same with row columns that may be written."""
        return replace(self, **{name: getattr(self, name).copy() for name in _BY_ROW})

    def knowing(self, accounts: Sequence[str]) -> Memory:
        """The same with these accounts among its own."""
        known = set(self.accounts)
        new = [name for name in dict.fromkeys(accounts) if name not in known]
        if not new:
            return self
        held = np.concatenate([self.held_kw, np.zeros(len(new))])
        return replace(self, accounts=(*self.accounts, *new), held_kw=held)

    def spent_kw(self, account: str, now_s: int, window_s: int) -> float:
        """What an account, or a group, has moved within the window that ends now."""
        return sum(kw for t_s, kw in self.spent.get(account, ()) if t_s > now_s - window_s)

    def held_by(self, accounts: Sequence[str]) -> Kw:
        """Displacement that accounts hold now, kW; 0 of those that are not known."""
        place = {name: k for k, name in enumerate(self.accounts)}
        held = np.append(self.held_kw, 0.0)
        found: Kw = held[[place.get(name, -1) for name in accounts]]
        if self.doubted:
            doubted = dict.fromkeys(accounts, 0.0)
            for _, name, kw in self.doubted:
                if name in doubted:
                    doubted[name] += kw
            found = found + np.array([doubted[name] for name in accounts])
        if self.diverted:
            found = found + np.array([self.diverted_kw(name) for name in accounts])
        return found

    def diverted_kw(self, account: str) -> float:
        """How far targets are from where they would be without what an account asks of the plan, kW."""
        return sum(_sum_kw(one.by_kw) for one in self.diverted.values() if one.account == account)

    def diverting(self, name: str, account: str, by_kw: Kw, now_s: int) -> Memory:
        """What somebody asked diverts targets by so much from now on, float32 (n,); that is booked.

        On another account than before it goes back on the former one, and away anew on this one.
        """
        before, spent = self.diverted.get(name), self.spent
        moved_kw = _sum_kw(by_kw)
        if before is not None and before.account == account:
            moved_kw = _sum_kw(by_kw - before.by_kw)
        elif before is not None:
            spent = _booked(spent, [before.account], np.array([_sum_kw(before.by_kw)]), now_s)
        left = {other: one for other, one in self.diverted.items() if other != name}
        if by_kw.any():
            left[name] = Diverted(account, by_kw)
        return replace(self, diverted=left, spent=_booked(spent, [account], np.array([moved_kw]), now_s))

    def moved_by(self, account: str, kw: float, t_s: int) -> Memory:
        """An account has moved so much at a moment, as a ledger tells it."""
        return replace(self, spent=_booked(self.spent, [account], np.array([kw]), t_s))

    @property
    def movers(self) -> tuple[str, ...]:
        """Accounts that hold, divert or have moved something."""
        moved = [name for name in self.spent if not name.startswith(GROUP)]
        return tuple(dict.fromkeys((*self.accounts, *(d.account for d in self.diverted.values()), *moved)))

    def used_kw(self, account: str, now_s: int, window_s: int) -> float:
        """What counts against an account's budget: moved in the window, and displaced now."""
        return self.spent_kw(account, now_s, window_s) + float(self.held_by([account])[0])

    def released(self, now_s: int) -> Memory:
        """Orders that have ended give back what they held displaced."""
        if not self.accounts and not self.doubted:
            return self
        memory = self
        back: Kw = np.zeros(len(self.accounts))
        rows: Rows = _kernels.held_and_over(self.holder, self.expires_s, now_s)
        if len(rows):
            memory, back = self._let_go(rows)
        over = [entry for entry in self.doubted if entry[0] <= now_s]
        names = (*self.accounts, *(name for _, name, _ in over))
        spent = _booked(self.spent, names, np.append(back, [kw for *_, kw in over]), now_s)
        left = tuple(entry for entry in self.doubted if entry[0] > now_s) if over else self.doubted
        return replace(memory, spent=spent, doubted=left)

    def later(self, leapt_s: int) -> Memory:
        """The same after a clock was set ahead: what moved, and who turned, did so as long ago as was lived.

        Orders keep their ends, which devices know: those that are over by the new time let go.
        """
        spent = {name: tuple((t_s + leapt_s, kw) for t_s, kw in moves) for name, moves in self.spent.items()}
        return replace(
            self, spent=spent, turn_s=self.turn_s + leapt_s, turn_kvar_s=self.turn_kvar_s + leapt_s
        )

    def forgotten(self, rows: Rows, now_s: int) -> Memory:
        """Rows whose order was refused: nothing is held, and nothing comes back."""
        rows = rows[self.expires_s[rows] > now_s]
        return self._let_go(rows)[0] if len(rows) else self

    def unheard(self, rows: Rows, now_s: int) -> Memory:
        """Rows whose order is told to have reached nobody: where they stand is not known any more.

        What the orders displaced counts for their accounts until they would have ended.
        """
        rows = rows[self.expires_s[rows] > now_s]
        if len(rows) == 0:
            return self
        doubted, ends = list(self.doubted), self.expires_s[rows]
        for end_s in np.unique(ends).tolist():
            _, away_kw = self._let_go(rows[ends == end_s])
            some = np.flatnonzero(away_kw > 0.0).tolist()
            doubted += [(end_s, self.accounts[k], float(away_kw[k])) for k in some]
        return replace(self._let_go(rows)[0], doubted=tuple(doubted))

    def ended(self, rows: Rows, now_s: int) -> Memory:
        """Rows that have heard that their order is taken back."""
        rows = rows[self.expires_s[rows] > now_s]
        if len(rows) == 0:
            return self
        memory, _ = self._let_go(rows)
        memory.expires_s[rows] = now_s
        return memory

    def revoked(self, rows: Rows, now_s: int) -> Memory:
        """Orders of some rows are taken back, and what they held comes back; until that is answered."""
        if len(rows) == 0:
            return self
        memory, back = self._let_go(rows)
        memory.issued_s[rows] = now_s
        return replace(memory, spent=_booked(self.spent, self.accounts, back, now_s))

    def _let_go(self, rows: Rows) -> tuple[Memory, Kw]:
        """Without orders of some rows; and (accounts,) what that brings back."""
        memory, mine = self.copied(), rows[self.holder[rows] >= 0]
        away = np.abs(self.last_kw[mine].astype(np.float64) - self.base_kw[mine])
        back: Kw = np.bincount(self.holder[mine], away, minlength=len(self.accounts)).astype(np.float64)
        memory.last_kw[rows], memory.base_kw[rows], memory.holder[rows] = np.nan, np.nan, -1
        memory.last_kvar[rows] = np.nan
        return replace(memory, held_kw=self.held_kw - back), back

    def took(
        self,
        sent: Sent,
        plates: tuple[Kw, Kw, Kw],
        now_s: int,
        limits: GuardLimits,
        groups: Mapping[str, float],
    ) -> Memory:
        """Remember orders that go out.

        Args:
            sent: they.
            plates: (n,) least and most that each resource injects, kW, and its rating, kVA.
            now_s: when.
            limits: how long is remembered.
            groups: kW that they move in each limited group.
        """
        memory = self.knowing(sent.accounts)
        at = {name: place for place, name in enumerate(memory.accounts)}
        place = np.array([*(at[name] for name in sent.accounts), -1], dtype=np.int32)
        account = place[sent.account]
        gap_s, _ = turning(limits.reversals, limits.reversal_s)
        back, held = np.zeros(len(memory.accounts)), memory.held_kw.copy()
        if len(sent.rows):
            memory = memory.copied()
            turning_kvar = memory.last_kvar, memory.turn_kvar, memory.turn_kvar_s
            _kernels.remember_kvar(
                sent.rows, sent.q_kvar, memory.expires_s, turning_kvar, plates[2], now_s, gap_s
            )
            _kernels.remember(
                sent.rows, sent.p_kw, sent.start_kw, sent.expires_s, account,
                memory.columns, *plates[:2], now_s, gap_s, back, held,
            )  # fmt: skip
            memory.order_id[sent.rows] = sent.order_id
            mine = account >= 0
            back += np.bincount(account[mine], np.abs(sent.p_kw - sent.start_kw)[mine], minlength=len(back))
        spent = _booked(memory.spent, memory.accounts, back, now_s)
        spent = _booked(spent, list(groups), np.array(list(groups.values())), now_s)
        return _without_the_old(replace(memory, held_kw=held, spent=spent), now_s, limits.window_s)


_IDLE_ACCOUNTS = 64
_BY_ROW = (
    "last_kw", "expires_s", "issued_s", "order_id", "base_kw", "holder", "turn", "turn_s", "last_kvar",
    "turn_kvar", "turn_kvar_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """Orders that go out, k of them.

    Attributes:
        rows: int32 (k,) ascending.
        p_kw: float64 (k,) ordered injection; NaN where it is left to the device.
        start_kw: (k,) power that each change is counted from.
        expires_s: (k,) when they end.
        order_id: int64 (k,).
        account: int32 (k,) position in ``accounts``; -1 where no external credential asks.
        accounts: credentials and approved proposals.
        q_kvar: float64 (k,) ordered reactive injection; NaN where it is left to the device.
    """

    rows: Rows
    p_kw: Kw
    start_kw: Kw
    expires_s: Seconds
    order_id: NDArray[np.int64]
    account: Rows
    accounts: tuple[str, ...]
    q_kvar: Kvar


def turning(many: float, window_s: float) -> tuple[float, float]:
    """What one reversal costs, and how much may be owed, s: never more than so many in any window.

    At most ``floor((room + window) / gap) + 1`` events of a leaky bucket fall into a window.
    """
    if many == 0:
        return np.inf, -np.inf
    if many == 1:
        return window_s + 1.0, 0.0
    return 2.0 * window_s / (many - 1), float(window_s)


def _sum_kw(kw: Kw) -> float:
    return float(np.abs(kw).sum(dtype=np.float64))


def _booked(spent: Spent, accounts: Sequence[str], kw: Kw, now_s: int) -> Spent:
    """Further moves of accounts, each moment as one."""
    some = np.flatnonzero(kw > 0.0).tolist()
    if not some:
        return spent
    booked = dict(spent)
    for k in some:
        name = accounts[k]
        booked[name] = (*booked.get(name, ()), (now_s, float(kw[k])))
    return booked


def _without_the_old(memory: Memory, now_s: int, window_s: int) -> Memory:
    """Drop what no window reaches any more; accounts stay until nothing is told of them."""
    first = now_s - window_s
    spent = memory.spent
    if any(moves[0][0] <= first for moves in spent.values()):
        young = {name: tuple(m for m in moves if m[0] > first) for name, moves in spent.items()}
        spent = {name: moves for name, moves in young.items() if moves}
    done = [k for k, name in enumerate(memory.accounts) if name not in spent and memory.held_kw[k] < 1e-9]
    if len(done) <= _IDLE_ACCOUNTS:
        return replace(memory, spent=spent)
    keep = np.setdiff1d(np.arange(len(memory.accounts)), done)
    place = np.full(len(memory.accounts) + 1, -1, dtype=np.int32)
    place[keep] = np.arange(len(keep))
    return replace(
        memory,
        spent=spent,
        accounts=tuple(memory.accounts[k] for k in keep.tolist()),
        held_kw=memory.held_kw[keep],
        holder=place[memory.holder],
    )
