"""Claims in the ledger: each answer is appended before it is given, and rebuilt from there at the start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from gridflock.fleet.claims import Accounts, Answer, Claim, ClaimKind, Claims, Held, RowsOf, Yields
from gridflock.model import Entry, Json, Priority, Rejected
from gridflock.ports import Record

MADE, REFUSED, WITHDRAWN = "claim", "claim refused", "claim withdrawn"


def make(
    record: Record,
    claims: Claims,
    claim: Claim,
    now_s: int,
    *,
    displace: Yields | None = None,
    replaces: str = "",
    author: str = "gridflock",
) -> Answer:
    """Ask for a claim as ``Claims.add`` does and append what is answered; what is known already is not.

    Args:
        record: ledger.
        claims: those in force.
        claim: what is asked.
        now_s: moment of the answer, unix seconds.
        displace: which claims of weaker priority give way; None = none.
        replaces: id of a claim that goes if this one is held.
        author: who asks.
    """
    known = claim.id in claims
    answer = claims.add(claim, now_s, displace=displace, replaces=replaces)
    if answer.rejected or (known and answer.held):
        return answer
    head = {**_to_head(claim), "author": author}
    if answer.refusal is not None:
        holders: list[Json] = [holder.id for holder in answer.refusal.holders]
        head |= {"text": answer.refusal.text, "holders": holders}
        record.append([Entry(REFUSED, now_s, head)])
        return answer
    displaced: list[Json] = [other.id for other in answer.displaced]
    head |= {"text": claim.text, "displaced": displaced, "replaces": replaces}
    record.append([Entry(MADE, now_s, head)])
    return answer


def withdraw(
    record: Record, claims: Claims, claim_id: str, now_s: int, *, author: str = "gridflock"
) -> tuple[Rejected, ...]:
    """Give a claim up as ``Claims.withdraw`` does and append it, where it was in force."""
    in_force = claim_id in claims and claims[claim_id].how == ""
    rejected = claims.withdraw(claim_id, now_s)
    if in_force:
        claim = claims[claim_id].claim
        head: dict[str, Json] = {"id": claim_id, "on": claim.on, "author": author}
        record.append([Entry(WITHDRAWN, now_s, head | {"text": f"withdrawn: {claim.text}"})])
    return rejected


def restore(
    record: Record,
    accounts: Accounts,
    rows_of: RowsOf,
    now_s: int,
    stackable: Iterable[tuple[str, str]] = (),
) -> tuple[Claims, tuple[Answer, ...]]:
    """Claims as a ledger tells them, on accounts and groups as they are now.

    Args:
        record: ledger.
        accounts: what each row has.
        rows_of: members of a resource or group.
        now_s: present, unix seconds; what is over is expired.
        stackable: pairs of services.

    Returns:
        The claims, and those that no longer fit.
    """
    lives: dict[str, Held] = {}

    def gone(claim_id: str, time_s: int, how: str) -> None:
        lives[claim_id] = replace(lives[claim_id], gone_s=time_s, how=how)

    for entry in record.entries(0, {MADE, WITHDRAWN}):
        name = str(entry.head["id"])
        if entry.kind == WITHDRAWN:
            gone(name, entry.time_s, "withdrawn")
            continue
        lives[name] = Held(_from_head(entry.head), entry.time_s)
        replaced, displaced = entry.head["replaces"], entry.head["displaced"]
        if replaced:
            gone(str(replaced), entry.time_s, f"replaced by {name}")
        for other in displaced if isinstance(displaced, list) else ():
            gone(str(other), entry.time_s, f"displaced by {name}")
    claims, broken = Claims.restored(accounts, rows_of, lives.values(), stackable)
    claims.expire(now_s)
    return claims, broken


def _to_head(claim: Claim) -> dict[str, Json]:
    return {**asdict(claim), "kind": str(claim.kind), "priority": claim.priority.name}


def _from_head(head: Any) -> Claim:  # noqa: ANN401  # written by _to_head
    fields = {name: head[name] for name in Claim.__slots__}
    fields |= {"kind": ClaimKind(head["kind"]), "priority": Priority[head["priority"]]}
    return Claim(**fields)
