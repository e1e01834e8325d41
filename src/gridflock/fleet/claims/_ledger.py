"""The ledger of claims: taken, refused, displaced, withdrawn, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from gridflock.fleet.claims._accounts import WATTS, Accounts, whole_watts
from gridflock.fleet.claims._bodies import Bodies, Body, within
from gridflock.fleet.claims._claim import (
    QUANTITIES,
    Answer,
    Claim,
    Free,
    Held,
    Refusal,
    wrong_claim,
)
from gridflock.fleet.claims._room import Ask, Room, Short, smallest
from gridflock.fleet.claims._stacking import Stacking
from gridflock.fleet.claims._table import Slots, Table, held_when
from gridflock.model import Rejected
from gridflock.units import NEVER_S, Rows, TimeGrid

RowsOf = Callable[[str], Rows]
"""Rows of a resource or group; raises ``KeyError`` for one that is unknown."""
Yields = Callable[[Claim], bool]
"""Whether a claim may be displaced, as far as the author's authority goes."""


class Claims:
    """Who holds what of which resources and groups, and what is free beside it.

    At every moment all claims in force can be served together: there is a way to share each claim's kW
    among the members of its group that asks no resource for more than its account, whatever groups
    overlap. The same holds for kWh per interval. The accounts are checked one by one; whether power and
    energy go together in one device is for its flexibility to say.

    Args:
        accounts: what each row has.
        rows_of: members of a resource or group, asked when a claim is made.
        stackable: pairs of services that may be served by the same kW. All others exclude each other,
            and two claims of one service always do.
    """

    def __init__(
        self, accounts: Accounts, rows_of: RowsOf, stackable: Iterable[tuple[str, str]] = ()
    ) -> None:
        self.accounts = accounts
        self.stackable = tuple(stackable)
        self._rows_of = rows_of
        self._stacking = Stacking(self.stackable)
        self._bodies = Bodies(accounts.watts())
        self._table = Table()
        self._room = Room(self._bodies, self._table, self._stacking)
        self._named: dict[str, Body] = {}
        self._held: dict[str, Held] = {}
        self._slot: dict[str, int] = {}
        self._at: dict[int, str] = {}

    @classmethod
    def restored(
        cls,
        accounts: Accounts,
        rows_of: RowsOf,
        lives: Iterable[Held],
        stackable: Iterable[tuple[str, str]] = (),
    ) -> tuple[Claims, tuple[Answer, ...]]:
        """Claims from their lives, on accounts and groups as they are now.

        Those in force are held again, stronger priority first, then earlier made. Where accounts have
        shrunk or groups have changed, some may no longer fit: they are left out and answered one by one.

        Args:
            accounts: what each row has.
            rows_of: members of a resource or group.
            lives: as ``lives`` gives them.
            stackable: pairs of services.
        """
        claims, broken = cls(accounts, rows_of, stackable), list[Answer]()
        lives = tuple(lives)
        claims._held = {life.claim.id: life for life in lives if life.gone_s != NEVER_S}
        live = [life for life in lives if life.gone_s == NEVER_S]
        for life in sorted(live, key=lambda life: (life.claim.priority, life.made_s, life.claim.id)):
            answer = claims.add(life.claim, life.made_s)
            if not answer.held:
                broken.append(answer)
        return claims, tuple(broken)

    # ---- made and given up -----------------------------------------------------------------------------

    def add(self, claim: Claim, now_s: int, *, displace: Yields | None = None, replaces: str = "") -> Answer:
        """Hold a claim if all claims can be served beside it, else say who stands in the way.

        A refusal changes nothing. The same claim again changes nothing and is held as it was.
        With ``displace``, claims of weaker priority for which it holds give way as a whole: of those that
        bound what is free, the weakest goes first, of equals the one made last; what turns out not to be
        needed stays.

        Args:
            claim: what is asked.
            now_s: moment of the answer, unix seconds.
            displace: which claims of weaker priority give way; None = none.
            replaces: id of a claim that goes if this one is held, and stays if not.
        """
        rejected = self._wrong(claim, now_s, replaces)
        if rejected:
            return Answer(claim, held=False, rejected=tuple(rejected))
        if claim.id in self._slot:
            return Answer(claim, held=True)
        body, former = self._body(claim.on), self._held.get(replaces)
        there = None if former is None else self._take_out(former.claim)
        refusal, displaced = self._make_room(claim, body, displace)
        if refusal is not None:
            if former is not None and there is not None:
                self._put_in(former.claim, there)
            return Answer(claim, held=False, refusal=refusal)
        self._put_in(claim, body)
        self._held[claim.id] = Held(claim, now_s)
        if former is not None:
            self._gone(former.claim, now_s, f"replaced by {claim.id}")
        for other in displaced:
            self._gone(other, now_s, f"displaced by {claim.id}")
        return Answer(claim, held=True, displaced=tuple(displaced))

    def withdraw(self, claim_id: str, now_s: int) -> tuple[Rejected, ...]:
        """Give a claim up; again, it changes nothing.

        Returns:
            What is wrong: an unknown id.
        """
        life = self._held.get(claim_id)
        if life is None:
            return (Rejected("claim", "id", (claim_id,), "is unknown"),)
        if claim_id in self._slot:
            self._take_out(life.claim)
            self._gone(life.claim, now_s, "withdrawn")
        return ()

    def expire(self, now_s: int) -> tuple[Claim, ...]:
        """Give up claims that hold nothing any more; they are returned.

        A claim of energy is held until the end of its last interval.
        """
        table = self._table
        ends = np.where(table.need > 0, table.until_s, NEVER_S).max(axis=0, initial=NEVER_S)
        over = [
            self._held[self._at[slot]].claim
            for slot in np.flatnonzero((ends >= 0) & (ends <= now_s)).tolist()
        ]
        for claim in over:
            self._take_out(claim)
            self._gone(claim, claim.until_s, "expired")
        return tuple(over)

    # ---- asked -----------------------------------------------------------------------------------------

    def free(self, where: str | Rows, grid: TimeGrid, service: str = "") -> Free:
        """The largest claim of each quantity that would be held throughout each step.

        Each is the largest by itself and of the rows together: what is free of two groups is not always
        free of both at once.

        Args:
            where: resource, group or rows.
            grid: T steps.
            service: whose name matters where pairs stack.

        Raises:
            KeyError: no such resource or group.
        """
        body, sold = self._body(where), self._stacking.of(service)
        found = np.zeros((len(QUANTITIES), grid.n))
        steps = [
            held_when(int(start_s), int(until_s), self.accounts.interval_s)
            for start_s, until_s in pairwise(grid.edges_s.tolist())
        ]
        for quantity in range(len(QUANTITIES) if len(body.rows) else 0):
            spans = sorted({when[quantity] for when in steps})
            ask = Ask(body, quantity, sold, spans[0][0], max(until_s for _, until_s in spans))
            rooms = dict(zip(spans, self._room.free_over(ask, spans), strict=True))
            found[quantity] = [rooms[when[quantity]] / WATTS for when in steps]
        return Free(grid, *found)

    def size(self, where: str | Rows) -> tuple[float, float, float]:
        """Accounts, as kW up, kW down and kWh, of a resource, group or rows together."""
        up_w, down_w, e_wh = self._body(where).size
        return up_w / WATTS, down_w / WATTS, e_wh / WATTS

    def holders(self, where: str | Rows, start_s: int, until_s: int) -> tuple[Claim, ...]:
        """Claims in force between on anything that shares a row, in the order of their ids."""
        rows, found = self._body(where).rows, set[str]()
        for quantity in range(len(QUANTITIES)):
            for slot in self._table.between(quantity, start_s, until_s).tolist():
                if self._at[slot] not in found and _share(
                    rows, self._bodies.all[self._table.body[slot]].rows
                ):
                    found.add(self._at[slot])
        return tuple(self._held[claim_id].claim for claim_id in sorted(found))

    def __getitem__(self, claim_id: str) -> Held:
        """The life of a claim. Raises ``KeyError`` for one that was never held."""
        return self._held[claim_id]

    def __contains__(self, claim_id: object) -> bool:
        """Whether it was ever held."""
        return claim_id in self._held

    def __len__(self) -> int:
        """How many are in force."""
        return len(self._slot)

    @property
    def lives(self) -> tuple[Held, ...]:
        """All claims that were ever held, in the order in which they were made."""
        return tuple(sorted(self._held.values(), key=lambda life: (life.made_s, life.claim.id)))

    def as_of(self, known_s: int) -> tuple[Claim, ...]:
        """Claims in force as far as was known at a moment, by id."""
        known = [life.claim for life in self._held.values() if life.known(known_s)]
        return tuple(sorted(known, key=lambda claim: claim.id))

    # ---- how -------------------------------------------------------------------------------------------

    def _wrong(self, claim: Claim, now_s: int, replaces: str) -> list[Rejected]:
        faults, life = wrong_claim(claim, now_s), self._held.get(claim.id)
        if life is not None and life.claim == claim and life.gone_s == NEVER_S:
            return []
        if life is not None:
            said = life.how or "in force with other content"
            faults.append(Rejected("claim", "id", (claim.id,), f"is {said}: an id is given once"))
        if replaces and replaces not in self._slot:
            faults.append(Rejected("claim", "replaces", (claim.id,), f"{replaces!r} is not in force"))
        try:
            if claim.on and not len(self._rows_of(claim.on)):
                faults.append(Rejected("claim", "on", (claim.id,), f"group {claim.on!r} has no members"))
        except KeyError:
            faults.append(Rejected("claim", "on", (claim.id,), f"no resource or group {claim.on!r}"))
        return faults

    def _body(self, where: str | Rows) -> Body:
        """What was asked about by name is asked about again, so it is kept up to date from then on."""
        if not isinstance(where, str):
            return self._bodies.probe(np.unique(where).astype(np.int32))
        rows = np.ascontiguousarray(self._rows_of(where), dtype=np.int32)
        known = self._named.get(where)
        if known is not None and np.array_equal(known.rows, rows):
            return known
        body = self._bodies.probe(rows)
        if len(rows):
            self._named[where] = self._bodies.enter(body)
        return body

    def _make_room(
        self, claim: Claim, body: Body, displace: Yields | None
    ) -> tuple[Refusal | None, list[Claim]]:
        """Take weaker claims out until one fits, and put back those that need not go."""
        displaced: dict[Claim, Body] = {}
        short = self._short(claim, body)
        while short is not None:
            weakest = None if displace is None else self._weakest(short[1].slots, claim, displace)
            if weakest is None:
                refusal = self._refusal(claim, *short)
                for other, there in displaced.items():
                    self._put_in(other, there)
                return refusal, []
            displaced[weakest] = self._take_out(weakest)
            short = self._short(claim, body)
        for other in list(displaced)[-2::-1]:
            self._put_in(other, displaced[other])
            if self._short(claim, body) is not None:
                self._take_out(other)
            else:
                del displaced[other]
        return None, list(displaced)

    def _weakest(self, slots: Slots, claim: Claim, yields: Yields) -> Claim | None:
        lives = [self._held[self._at[slot]] for slot in slots.tolist()]
        weaker = [life for life in lives if life.claim.priority > claim.priority and yields(life.claim)]
        found = max(weaker, key=lambda life: (life.claim.priority, life.made_s, life.claim.id), default=None)
        return None if found is None else found.claim

    def _asks(self, claim: Claim, body: Body) -> list[Ask]:
        when = held_when(claim.start_s, claim.until_s, self.accounts.interval_s)
        needs = [whole_watts(getattr(claim, name)) for name in QUANTITIES]
        sold = self._stacking.of(claim.sold)
        return [Ask(body, q, sold, *when[q], need) for q, need in enumerate(needs) if need]

    def _short(self, claim: Claim, body: Body) -> tuple[Ask, Short] | None:
        for ask in self._asks(claim, body):
            short = self._room.short(ask)
            if short is not None:
                return ask, short
        return None

    def _refusal(self, claim: Claim, ask: Ask, short: Short) -> Refusal:
        need = self._table.need[ask.quantity]
        named = [self._held[self._at[slot]].claim for slot in smallest(short, need).tolist()]
        return Refusal(
            claim=claim,
            quantity=QUANTITIES[ask.quantity],
            start_s=short.start_s,
            until_s=short.until_s,
            wanted=getattr(claim, QUANTITIES[ask.quantity]),
            free=max(min(short.room, self._room.free(ask.over(short.start_s, short.until_s))), 0) / WATTS,
            holders=tuple(
                sorted(named, key=lambda other: (-getattr(other, QUANTITIES[ask.quantity]), other.id))
            ),
        )

    def _put_in(self, claim: Claim, body: Body) -> None:
        sold, asks = self._stacking.of(claim.sold), self._asks(claim, body)
        need = [0] * len(QUANTITIES)
        for ask in asks:
            need[ask.quantity] = ask.need
            self._bodies.add(body, (ask.quantity, sold), ask.start_s, ask.until_s, ask.need)
        when = held_when(claim.start_s, claim.until_s, self.accounts.interval_s)
        slot = self._table.put(body.number, int(body.rows[0]), sold, tuple(need), when)
        self._slot[claim.id], self._at[slot] = slot, claim.id

    def _take_out(self, claim: Claim) -> Body:
        slot = self._slot.pop(claim.id)
        body: Body = self._bodies.all[self._table.body[slot]]
        sold = self._stacking.of(claim.sold)
        for ask in self._asks(claim, body):
            self._bodies.add(body, (ask.quantity, sold), ask.start_s, ask.until_s, -ask.need)
        self._table.drop(slot)
        del self._at[slot]
        return body

    def _gone(self, claim: Claim, now_s: int, how: str) -> None:
        self._held[claim.id] = replace(self._held[claim.id], gone_s=now_s, how=how)


def _share(one: Rows, other: Rows) -> bool:
    """Whether two ascending sets of rows have one in common."""
    few, many = (one, other) if len(one) <= len(other) else (other, one)
    return bool(len(few) and within(few, many).any())
