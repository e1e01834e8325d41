"""Claims and what is answered to them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from gridflock.fleet.claims._accounts import WATTS, whole_watts
from gridflock.model import Priority, Rejected
from gridflock.units import NEVER_S, Kw, Kwh, TimeGrid, iso

QUANTITIES = ("up_kw", "down_kw", "e_kwh")
UP, DOWN, ENERGY = range(3)
_WORDS = ("kW up", "kW down", "kWh")
_MOST = 1e12
"""Larger sizes are none, kW or kWh; sums of many such are still whole watts."""
_FIRST_S, _LAST_S = -62_135_596_800, 253_370_764_800
"""Beyond these, years 1 to 9998, there are no dates, unix seconds."""
_NAMED = 5
"""Holders named in a refusal's words; all of them are in its fields."""


class ClaimKind(StrEnum):
    """What a claim is for."""

    PROGRAMME = "programme"
    OFFER = "offer"
    RESERVE = "reserve"
    AWARD = "award"
    EVENT = "event"
    ENVELOPE = "envelope"
    BACKUP = "backup"
    """The owner's own."""
    LIMIT = "limit"
    """What a local limit leaves nobody: the account less what is allowed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Something of a resource or group, promised over a time.

    Attributes:
        id: unique for good: of a claim that is gone it is not given again.
        owner: to whom.
        kind: what for.
        on: resource or group.
        start_s: from, included.
        until_s: until, excluded.
        up_kw: held power to inject more or draw less, >= 0.
        down_kw: held power to inject less or draw more, >= 0.
        e_kwh: held energy, >= 0, in every interval of the energy accounts that the time touches.
        priority: whose word weighs more; lower codes may displace higher ones.
        service: name that pairs of stackable services are declared by; the kind where empty.
        why: in words.
    """

    id: str
    owner: str
    kind: ClaimKind
    on: str
    start_s: int
    until_s: int
    up_kw: float = 0.0
    down_kw: float = 0.0
    e_kwh: float = 0.0
    priority: Priority = Priority.MARKET
    service: str = ""
    why: str = ""

    @property
    def sold(self) -> str:
        """The service's name, or the kind's."""
        return self.service or str(self.kind)

    @property
    def text(self) -> str:
        """Who, what, where and when, in words."""
        sizes = (self.up_kw, self.down_kw, self.e_kwh)
        held = ", ".join(f"{size:g} {word}" for size, word in zip(sizes, _WORDS, strict=True) if size)
        return (
            f"{self.owner}'s {self.sold} {self.id!r}: {held} of {self.on!r} "
            f"from {iso(self.start_s)} to {iso(self.until_s)}"
        )


def wrong_claim(claim: Claim, now_s: int) -> list[Rejected]:
    """What is senseless about a claim by itself."""
    faults: list[Rejected] = []

    def fault(field: str, reason: str) -> None:
        faults.append(Rejected("claim", field, (claim.id,), reason))

    for field in ("id", "owner", "on"):
        if not getattr(claim, field):
            fault(field, "is empty")
    for field in QUANTITIES:
        size = getattr(claim, field)
        if not (math.isfinite(size) and size >= 0):
            fault(field, f"{size:g} is no size: finite and not negative")
        elif size > _MOST:
            fault(field, f"{size:g} is no size: more than {_MOST:g}")
    if not faults and not any(whole_watts(getattr(claim, field)) for field in QUANTITIES):
        fault("up_kw", f"claims nothing: no kW up, kW down or kWh, of {1 / WATTS:g} at least")
    faults += (Rejected("claim", field, (claim.id,), reason) for field, reason in _wrong_time(claim, now_s))
    return faults


def _wrong_time(claim: Claim, now_s: int) -> Iterator[tuple[str, str]]:
    if claim.start_s < _FIRST_S:
        yield "start_s", "is no date"
    elif claim.until_s > _LAST_S:
        yield "until_s", f"is later than {iso(_LAST_S)}"
    elif claim.until_s <= claim.start_s:
        yield "until_s", f"{iso(claim.until_s)} is not after its start {iso(claim.start_s)}"
    elif claim.until_s <= now_s:
        yield "until_s", f"{iso(claim.until_s)} is past"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a claim cannot be held, with a smallest set of claims that stands in its way.

    Attributes:
        claim: what was asked.
        quantity: ``"up_kw"``, ``"down_kw"`` or ``"e_kwh"``.
        start_s: first stretch of time for which it fails, from, included.
        until_s: until, excluded.
        wanted: kW or kWh asked.
        free: kW or kWh that could be had there then.
        holders: together they leave too little, and without any one of them would not; empty where
            the resource or group has not so much at all.
    """

    claim: Claim
    quantity: str
    start_s: int
    until_s: int
    wanted: float
    free: float
    holders: tuple[Claim, ...]

    @property
    def text(self) -> str:
        """The refusal in words, the first holders named."""
        word = _WORDS[QUANTITIES.index(self.quantity)]
        when = f"from {iso(self.start_s)} to {iso(self.until_s)}"
        said = f"{self.wanted:g} {word} of {self.claim.on!r} wanted, {self.free:g} free {when}"
        if not self.holders:
            return f"{said}: it has no more"
        more = len(self.holders) - _NAMED
        named = "; ".join(holder.text for holder in self.holders[:_NAMED])
        return f"{said}; held by {named}" + (f"; and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a claim; one of ``held``, a refusal, or faults.

    Attributes:
        claim: what was asked.
        held: it is in force; also where it already was, just so.
        refusal: who stands in the way.
        rejected: what is senseless about it.
        displaced: claims of lower priority that had to go for it.
    """

    claim: Claim
    held: bool
    refusal: Refusal | None = None
    rejected: tuple[Rejected, ...] = ()
    displaced: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """A claim with its life.

    Attributes:
        claim: as it was made.
        made_s: moment it was accepted, unix seconds.
        gone_s: moment it was given up, -1 while it is in force.
        how: ``"withdrawn"``, ``"expired"``, ``"replaced by x"``, ``"displaced by x"``; empty while in force.
    """

    claim: Claim
    made_s: int
    gone_s: int = NEVER_S
    how: str = ""

    def known(self, at_s: int) -> bool:
        """Whether it was in force, as far as anybody knew at a moment."""
        return self.made_s <= at_s and (self.gone_s == NEVER_S or at_s < self.gone_s)


@dataclass(frozen=True, slots=True, eq=False)
class Free:
    """What can still be claimed of rows or a group, throughout each step.

    Attributes:
        grid: T steps.
        up_kw: (T,) kW up.
        down_kw: (T,) kW down.
        e_kwh: (T,) kWh in every interval of the energy accounts that the step touches.
    """

    grid: TimeGrid
    up_kw: Kw
    down_kw: Kw
    e_kwh: Kwh
