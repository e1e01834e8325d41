"""Promises of a system that lives: its claims, in step with the ledger and with groups as they change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

from gridflock.fleet import Fleet
from gridflock.fleet.claims import Accounts, Answer, Claim, Claims, Held, Yields, nameplate_accounts
from gridflock.model import Entry
from gridflock.ports import Record
from gridflock.runtime._claims import WITHDRAWN, make, restore, withdraw
from gridflock.units import Rows


class Promises:
    """Who holds what. One caller at a time.

    Args:
        record: ledger.
        accounts: what each resource has.
        rows_of: rows of each group and resource.
    """

    def __init__(self, record: Record, accounts: Accounts, rows_of: Mapping[str, Rows]) -> None:
        self._record = record
        self._accounts = accounts
        self._rows_of = rows_of
        self._claims = Claims(accounts, self._rows)

    @classmethod
    def rebuilt(
        cls, record: Record, fleet: Fleet, rows_of: Mapping[str, Rows], now_s: int
    ) -> tuple[Self, list[Entry]]:
        """The promises of a ledger, on nameplates and groups as they are now.

        Returns:
            Promises, and entries for the ledger that give up those that fit no more.
        """
        promises = cls(record, nameplate_accounts(fleet), rows_of)
        promises._claims, broken = restore(record, promises._accounts, promises._rows, now_s)
        ended = []
        for answer in broken:
            claim = answer.claim
            if claim.until_s > now_s:
                text = f"given up: {claim.text}, which fits no more: {why_not(answer)}"
                head = {"id": claim.id, "on": claim.on, "author": "gridflock", "text": text}
                ended.append(Entry(WITHDRAWN, now_s, head))
        return promises, ended

    def _rows(self, name: str) -> Rows:
        return self._rows_of[name]

    # ---- asked -------------------------------------------------------------------------------------

    def open(self, now_s: int) -> tuple[Held, ...]:
        """Claims in force or to come, by id."""
        self._claims.expire(now_s)
        return tuple(self._claims[claim.id] for claim in self._claims.as_of(now_s))

    def count(self, now_s: int) -> int:
        """How many claims are in force or to come."""
        self._claims.expire(now_s)
        return len(self._claims)

    def __getitem__(self, claim_id: str) -> Held:
        """The life of a claim. Raises ``KeyError`` for one that was never held."""
        return self._claims[claim_id]

    # ---- made and given up -------------------------------------------------------------------------

    def make(
        self, claim: Claim, now_s: int, author: str, *, displace: Yields | None, replaces: str
    ) -> Answer:
        """Hold a claim, or say who stands in its way; what could not be recorded was never held."""
        self._claims.expire(now_s)
        before = self._claims.lives
        try:
            return make(
                self._record,
                self._claims,
                claim,
                now_s,
                displace=displace,
                replaces=replaces,
                author=author,
            )
        except BaseException:
            self._claims, _ = Claims.restored(self._accounts, self._rows, before)
            raise

    def release(self, claim_id: str, now_s: int, author: str) -> None:
        """Give a claim up; what could not be recorded is still held."""
        before = self._claims.lives
        try:
            withdraw(self._record, self._claims, claim_id, now_s, author=author)
        except BaseException:
            self._claims, _ = Claims.restored(self._accounts, self._rows, before)
            raise

    def follow(self, rows_of: Mapping[str, Rows], now_s: int) -> tuple[Answer, ...]:
        """Rest on other groups from now on, if all claims can still be served.

        Returns:
            Answers to those that cannot; then everything stays as it was.
        """
        before = self._rows_of
        names = {life.claim.on for life in self.open(now_s)}
        moved = [n for n in names if n not in rows_of or not np.array_equal(before[n], rows_of[n])]
        self._rows_of = rows_of
        if not moved:
            return ()
        claims, broken = Claims.restored(self._accounts, self._rows, self._claims.lives)
        if broken:
            self._rows_of = before
        else:
            self._claims = claims
        return broken


def why_not(answer: Answer) -> str:
    """Why a claim is not held, in words."""
    if answer.refusal is not None:
        return answer.refusal.text
    return "; ".join(f"{fault.field}: {fault.reason}" for fault in answer.rejected)
