"""What keeps a request from being taken: every broken rule at once, each with its field."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gridflock.fleet.claims import Answer, Claim, ClaimKind
from gridflock.fleet.registry import QueryRejected, select
from gridflock.model import Priority, Proposal, Rejected
from gridflock.runtime._promises import why_not
from gridflock.runtime._system import System
from gridflock.runtime._views import Fault
from gridflock.schema import Family
from gridflock.units import Kw, Rows, unix_s

LONGEST_MINUTES = 24 * 60.0
LONGEST_CLAIM_MINUTES = 366 * LONGEST_MINUTES
_WHY_CHARS = 500
_NAME_CHARS = 100
_PRIORITIES = tuple(p for p in Priority if p >= Priority.OPERATOR)
_GROUP_RULES: Mapping[str, str] = {
    "id": "a printable name that is free, or a group that was defined",
    "members": "registered resources",
    "children": "other groups",
    "parents": "groups that were defined, none of the system's own",
    "rule": "a query over attributes of the registry",
    "place": "a GeoJSON Polygon or MultiPolygon",
    "version": "the group's present version",
    "names": "a title of its own, 1 to 255 printable characters",
    "mrid": "nothing rests on it",
}


class RequestRejected(Exception):  # noqa: N818 - bad input as values
    """A request that cannot be taken; ``faults`` names every field and rule."""

    later_s = 0
    """From when on it can; 0 for one that never can as it is."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{f.field}: {f.reason}" for f in faults))
        self.faults = faults


class Busy(RequestRejected):
    """A request that can be taken later: ``later_s`` from now on."""

    def __init__(self, faults: tuple[Fault, ...], later_s: int) -> None:
        super().__init__(faults)
        self.later_s = later_s


class ProposalRejected(RequestRejected):
    """A proposal that cannot be taken."""


# ---- wishes ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Want:
    """What is asked of a group, as it was said."""

    group: str
    p_kw: float | None
    p_lo_kw: float | None
    p_hi_kw: float | None
    minutes: float
    why: str


def wrong_want(want: Want, system: System, now_kw: Kw, tick_s: int) -> tuple[Fault, ...]:
    """What is wrong with a proposal.

    Args:
        want: what is asked.
        system: of whom.
        now_kw: (n,) present injection of every resource.
        tick_s: the fast tempo.
    """
    faults: list[Fault] = []
    given = {"p_kw": want.p_kw, "p_lo_kw": want.p_lo_kw, "p_hi_kw": want.p_hi_kw}
    rows = system.rows_of.get(want.group)
    if rows is None:
        faults.append(Fault("group", "must exist", f"no group or resource {want.group!r}"))
    if all(value is None for value in given.values()):
        faults.append(Fault("p_kw", "a want or a bound", "give p_kw, p_lo_kw or p_hi_kw"))
    for name, value in given.items():
        if value is not None and not math.isfinite(value):
            faults.append(Fault(name, "a finite number", f"{value} is not finite"))
    if want.p_lo_kw is not None and want.p_hi_kw is not None and want.p_lo_kw > want.p_hi_kw:
        faults.append(Fault("p_lo_kw", "not above p_hi_kw", f"{want.p_lo_kw} > {want.p_hi_kw}"))
    shortest = tick_s / 60
    if not shortest < want.minutes <= LONGEST_MINUTES:
        rule = f"longer than a tick ({shortest:g}), at most {LONGEST_MINUTES:.0f}"
        faults.append(Fault("minutes", rule, f"{want.minutes:g} is not"))
    faults += wrong_words("why", want.why, _WHY_CHARS)
    if rows is not None and want.p_kw is not None and math.isfinite(want.p_kw):
        faults += _beyond(system, rows, now_kw, want.p_kw)
    return tuple(faults)


def _beyond(system: System, rows: Rows, now_kw: Kw, p_kw: float) -> list[Fault]:
    """A want outside nameplate is an error; one outside the moment's capability a shortfall."""
    fleet = system.fleet
    fixed = fleet.family[rows] == Family.NONE
    demand = float(np.nansum(now_kw[rows[fixed]]))
    lowest = demand + float(fleet.columns["p_min_kw"][rows[~fixed]].sum())
    highest = demand + float(fleet.columns["p_max_kw"][rows[~fixed]].sum())
    if lowest - 1e-6 <= p_kw <= highest + 1e-6:
        return []
    reason = f"{p_kw:g} kW is outside what demand and nameplates leave, [{lowest:.1f}, {highest:.1f}] kW"
    if lowest <= -p_kw <= highest:
        reason += ": is its sign turned? Positive power is injection"
    elif lowest <= p_kw / 1_000.0 <= highest and abs(p_kw) >= 1_000.0:
        reason += ": is it in watts?"
    return [Fault("p_kw", "within capability", reason)]


def wrong_words(field: str, words: str, most: int) -> list[Fault]:
    """What keeps words from being shown on every screen as they were typed."""
    faults = []
    if len(words) > most:
        faults.append(Fault(field, f"at most {most} characters", f"{len(words)} characters"))
    if not words.isprintable():
        faults.append(Fault(field, "printable characters", "holds control characters"))
    return faults


# ---- groups ------------------------------------------------------------------------------------------


def group_faults(rejected: Iterable[Rejected]) -> tuple[Fault, ...]:
    """What is wrong with a group as faults of a request."""
    return tuple(
        Fault(
            fault.field,
            _GROUP_RULES.get(fault.field, "as docs/groups.md says"),
            f"{', '.join(fault.ids)}: {fault.reason}" if fault.ids else fault.reason,
        )
        for fault in rejected
    )


def resting(proposals: Iterable[Proposal]) -> tuple[Fault, ...]:
    """Proposals that keep a group from being deleted."""
    ids = [wish.id for wish in proposals]
    reason = f"in force on it: {', '.join(ids)}; only a cascade ends them"
    return (Fault("group", "no proposals in force", reason),) if ids else ()


def promised(broken: Iterable[Answer]) -> tuple[Fault, ...]:
    """Claims that keep a group from being changed or deleted."""
    return tuple(
        Fault("group", "all claims can still be served", f"claim {answer.claim.id!r}: {why_not(answer)}")
        for answer in broken
    )


def chosen(system: System, rows: Rows, query: str) -> Rows:
    """Those of some rows that fulfil a query; all where it is empty.

    Raises:
        RequestRejected: it is none; the position is told.
    """
    if not query.strip():
        return rows
    try:
        found = select(system.fleet, query)
    except QueryRejected as error:
        fault = Fault("query", "a query over attributes of the registry", str(error))
        raise RequestRejected((fault,)) from error
    both: Rows = np.intersect1d(rows, found, assume_unique=True)
    return both


# ---- claims ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClaimWords:
    """A claim as it was said; sizes are those of ``fleet.claims.Claim``."""

    group: str
    kind: str
    owner: str
    start: str
    minutes: float
    up_kw: float
    down_kw: float
    e_kwh: float
    priority: str
    service: str
    why: str


def asked_at(text: str, now_s: int) -> int:
    """The moment that is asked about, now where empty and never later.

    Raises:
        RequestRejected: no moment, or one to come.
    """
    if not text:
        return now_s
    try:
        at_s = unix_s(text)
    except (ValueError, OverflowError) as error:
        raise RequestRejected((Fault("at", "a moment in ISO 8601", f"{text!r} is not"),)) from error
    if at_s > now_s:
        raise RequestRejected((Fault("at", "not after the system's own now", f"{text!r} is to come"),))
    return at_s


def read_claim(words: ClaimWords, claim_id: str, now_s: int) -> Claim:
    """The claim that is meant.

    Raises:
        RequestRejected: words that mean nothing; sizes and times are judged by the claims themselves.
    """
    faults: list[Fault] = []
    kinds, ranks = [str(kind) for kind in ClaimKind], [p.name.lower() for p in _PRIORITIES]
    for field, word, known in (("kind", words.kind, kinds), ("priority", words.priority, ranks)):
        if word not in known:
            faults.append(Fault(field, f"one of {', '.join(known)}", f"{word!r} is not"))
    start_s = now_s
    if words.start:
        try:
            start_s = unix_s(words.start)
        except (ValueError, OverflowError):
            faults.append(Fault("start", "a moment in ISO 8601", f"{words.start!r} is not"))
    if not 0 < words.minutes <= LONGEST_CLAIM_MINUTES:
        rule = f"above 0, at most {LONGEST_CLAIM_MINUTES:.0f}"
        faults.append(Fault("minutes", rule, f"{words.minutes:g} is not"))
    for field, text, most in (
        ("owner", words.owner, _NAME_CHARS),
        ("service", words.service, _NAME_CHARS),
        ("why", words.why, _WHY_CHARS),
    ):
        faults += wrong_words(field, text, most)
    if faults:
        raise RequestRejected(tuple(faults))
    return Claim(
        claim_id,
        words.owner,
        ClaimKind(words.kind),
        words.group,
        start_s,
        start_s + max(1, round(words.minutes * 60)),
        words.up_kw,
        words.down_kw,
        words.e_kwh,
        Priority[words.priority.upper()],
        words.service,
        words.why,
    )


def claim_faults(answer: Answer) -> tuple[Fault, ...]:
    """Why a claim is not held."""
    if answer.refusal is not None:
        return (Fault(answer.refusal.quantity, "free beside what is promised", answer.refusal.text),)
    names = {"on": "group", "start_s": "start", "until_s": "minutes"}
    return tuple(
        Fault(names.get(fault.field, fault.field), "a claim that can be held", fault.reason)
        for fault in answer.rejected
    )
