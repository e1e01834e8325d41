"""How likely each resource answers an order, learnt from what became of earlier ones.

Each resource has a Beta posterior: the kept and the missed share of what it was asked for, old
evidence counting less, on top of what is usual in its group. It changes only when the resource was
asked, and it never falls below a floor: silence is not success, but it ejects nobody for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.fleet._columns import Fleet
from gridflock.model import OutcomeStatus
from gridflock.schema import Kind
from gridflock.units import DAY_S, HOUR_S, NEVER_S, Codes, Kw, Rows

NEVER_ASKED = 255
"""``Health.latest`` of a resource that was never asked."""
_FORGOTTEN = 1e-6
_LONGEST_S = 1_000.0 * DAY_S
_HOURS = 24
_FINEST = 256.0
_SHARE = np.zeros(256)
_SHARE[OutcomeStatus.ACCEPTED], _SHARE[OutcomeStatus.PARTIAL] = 1.0, 0.5

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HealthRules:
    """How fast and how far outcomes are believed.

    Attributes:
        prior: share of what is asked that a group keeps as long as nobody knows better, inside (0, 1);
            field programmes report 0.79 to 0.82.
        prior_asked: so many outcomes of its own weigh as much as what is usual in a resource's group.
        group_asked: so many outcomes weigh as much as ``prior`` for a group.
        half_life_asked: after so many further outcomes of its own an outcome counts half.
        half_life_s: after so long an outcome counts half, own or group's, s; at most 1,000 days.
        floor: least probability, inside (0, 1).
        common_share: correlation of the failures behind one provider, 0 to 1: its servers and links
            fail together.
        common_shares: the same of single providers by name, where it is known better.
        hourly: what is usual in a group is learnt for each hour of the day (UTC) apart.

    Raises:
        ValueError: a number outside its range.
    """

    prior: float = 0.8
    prior_asked: float = 4.0
    group_asked: float = 50.0
    half_life_asked: float = 50.0
    half_life_s: float = 30.0 * DAY_S
    floor: float = 0.05
    common_share: float = 0.05
    common_shares: Mapping[str, float] = field(default_factory=dict)
    hourly: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        inside = 0 < self.prior < 1 and 0 < self.floor < 1
        inside &= all(0 <= share <= 1 for share in (self.common_share, *self.common_shares.values()))
        positive = min(self.prior_asked, self.group_asked, self.half_life_asked, self.half_life_s) > 0
        if not (inside and positive and self.half_life_s <= _LONGEST_S):
            raise ValueError(f"outside the stated range: {self}")


class Delivery(NamedTuple):
    """What an order is likely to bring; powers are changes of injection, kW.

    Attributes:
        ordered_kw: what is ordered.
        expected_kw: its mean.
        deviation_kw: its standard deviation.
        promised_kw: what is delivered with the confidence asked for; 0 where that is nothing.
    """

    ordered_kw: float
    expected_kw: float
    deviation_kw: float
    promised_kw: float


class OverOrder(NamedTuple):
    """How much to order so that a target is met with confidence.

    Attributes:
        share: of each resource's room to be ordered, 0 to 1.
        delivery: what that brings.
        missing_kw: what even the whole room cannot promise; 0 where the target is promised.
    """

    share: float
    delivery: Delivery
    missing_kw: float


class _Posterior(NamedTuple):
    """What the compiled loops read: columns of ``Health``, and the rules at one moment."""

    kept: NDArray[np.float32]
    missed: NDArray[np.float32]
    since: Rows
    group: Rows
    usual: _Array
    weight: float
    floor: float
    hour: int
    fading: _Array


class Evidence(NamedTuple):
    """What a ``Health`` knows, as a value that can be kept; n rows, g groups in the shape they have.

    Attributes:
        rules: how outcomes are believed.
        group: int32 (n,) group of each resource.
        link: int32 (n,) provider of each.
        common: (l,) correlation of the failures behind each provider.
        kept: float32 (n,), as of ``Health``; and so the next four.
        missed: float32 (n,).
        hour: int32 (n,).
        asked: int32 (n,).
        latest: uint8 (n,).
        groups_kept: float64 (hours, *g) the groups' sums.
        groups_missed: float64 (hours, *g).
        groups_hour: int64 (hours, *g).
    """

    rules: HealthRules
    group: Rows
    link: Rows
    common: _Array
    kept: NDArray[np.float32]
    missed: NDArray[np.float32]
    hour: Rows
    asked: Rows
    latest: Codes
    groups_kept: _Array
    groups_missed: _Array
    groups_hour: NDArray[np.int64]


class Health:
    """The probability to respond of every resource of a fleet, n rows.

    Attributes:
        kept: float32 (n,), kept share of what was asked, summed over outcomes, forgetting as of ``hour``.
        missed: float32 (n,), the missed share likewise.
        hour: int32 (n,), hour of the latest outcome, unix time / 3,600; -1 where never asked.
        asked: int32 (n,), how many outcomes there were.
        latest: uint8 (n,), ``OutcomeStatus`` of the latest outcome, ``NEVER_ASKED`` before the first.
    """

    def __init__(
        self, fleet: Fleet, rules: HealthRules | None = None, by: tuple[str, ...] = ("kind", "program")
    ) -> None:
        """Nobody has been asked yet.

        Args:
            fleet: whose rows these are.
            rules: how outcomes are believed.
            by: registry columns, ``kind`` or coded texts, whose combinations are the groups.
        """
        self.rules = rules or HealthRules()
        self._by = by
        self._row_of = fleet.row_of
        self._labels = {name: _names(fleet, name) for name in by}
        self._group = _group(fleet, by)
        self._link = fleet.columns["provider"]
        common, known = self.rules.common_share, self.rules.common_shares
        self._common = np.array([known.get(name, common) for name in fleet.labels["provider"]])
        n = len(fleet.ids)
        self.kept, self.missed = np.zeros(n, dtype=np.float32), np.zeros(n, dtype=np.float32)
        self.hour = np.full(n, NEVER_S, dtype=np.int32)
        self.asked = np.zeros(n, dtype=np.int32)
        self.latest = np.full(n, NEVER_ASKED, dtype=np.uint8)
        shape = (_HOURS if self.rules.hourly else 1, *(len(names) for names in self._labels.values()))
        self._group_kept, self._group_missed = np.zeros(shape), np.zeros(shape)
        self._group_hour = np.full(shape, NEVER_S, dtype=np.int64)
        self._fading = _fading(self.rules)

    def moved(self, fleet: Fleet) -> Health:
        """What is known, for the rows of another version of the fleet; new resources were never asked."""
        there = Health(fleet, self.rules, self._by)
        before = np.fromiter((self._row_of.get(name, -1) for name in fleet.ids), np.int32, len(fleet.ids))
        known = np.flatnonzero(before >= 0)
        for name in ("kept", "missed", "hour", "asked", "latest"):
            getattr(there, name)[known] = getattr(self, name)[before[known]]
        shared = [
            np.intersect1d(self._labels[name], there._labels[name], return_indices=True)[1:]
            for name in self._by
        ]
        hours = np.arange(self._group_kept.shape[0])
        here_at = np.ix_(hours, *(ours for ours, _ in shared))
        there_at = np.ix_(hours, *(theirs for _, theirs in shared))
        for name in ("_group_kept", "_group_missed", "_group_hour"):
            getattr(there, name)[there_at] = getattr(self, name)[here_at]
        return there

    def learn(self, rows: Rows, status: Codes, now_s: int, kept: _Array | None = None) -> None:
        """Take in what became of orders, each outcome once.

        Accepted keeps all that was asked, refused, expired and unreachable keep nothing. Outcomes of
        one call that concern different resources may come in any order.

        Args:
            rows: (m,) resource of each outcome, -1 where unknown.
            status: (m,) ``OutcomeStatus`` code.
            now_s: our clock, unix seconds.
            kept: (m,) share of the asked change that was delivered, read where ``status`` is partial;
                NaN, or None for all, where unknown, which counts as half.
        """
        share = _SHARE[status]
        if kept is not None:
            told = (status == OutcomeStatus.PARTIAL) & ~np.isnan(kept)
            # In fixed steps, so that sums do not depend on their order.
            share = np.where(told, np.round(np.clip(kept, 0.0, 1.0) * _FINEST) / _FINEST, share)
        known = (rows >= 0) & (rows < len(self.kept))
        rows, share = rows[known], share[known]
        hour = now_s // HOUR_S
        keep = 0.5 ** (1.0 / self.rules.half_life_asked)
        state = (self.kept, self.missed, self.hour, self.asked, self.latest)
        _learn(*state, self._checked(rows), share, status[known], hour, keep, self._fading)
        self._learn_groups(rows, share, hour)

    @property
    def evidence(self) -> Evidence:
        """What is known, as a value; the arrays are this object's own."""
        learnt = self.kept, self.missed, self.hour, self.asked, self.latest
        groups = self._group_kept, self._group_missed, self._group_hour
        return Evidence(self.rules, self._group, self._link, self._common, *learnt, *groups)

    @classmethod
    def of(cls, evidence: Evidence, *, copied: bool = False) -> Health:
        """Who knows that, without the fleet it was learnt from: it cannot move to another.

        Args:
            evidence: what is known.
            copied: whether it may learn more; otherwise it shares the arrays.
        """
        self = cls.__new__(cls)
        self.rules, self._by, self._row_of, self._labels = evidence.rules, (), {}, {}
        fixed: list[Any] = [a if a.flags.writeable else a.copy() for a in evidence[1:4]]
        learnt: list[Any] = [a.copy() if copied or not a.flags.writeable else a for a in evidence[4:]]
        self._group, self._link, self._common = fixed
        self.kept, self.missed, self.hour, self.asked, self.latest, *groups = learnt
        self._group_kept, self._group_missed, self._group_hour = groups
        self._fading = _fading(self.rules)
        return self

    def _learn_groups(self, rows: Rows, share: _Array, hour: int) -> None:
        """Add a call's outcomes to those of the groups, in whose sums all of one hour count alike."""
        slot = hour % _HOURS if self.rules.hourly else 0
        kept, missed, since = self._group_kept[slot], self._group_missed[slot], self._group_hour[slot]
        group = self._group[rows]
        told = np.bincount(group, minlength=kept.size).reshape(kept.shape)
        held = np.bincount(group, weights=share, minlength=kept.size).reshape(kept.shape)
        fading = np.where(told > 0, self._faded(since, hour), 1.0)
        kept *= fading
        missed *= fading
        kept += held
        missed += told - held
        np.maximum(since, hour, out=since, where=told > 0)

    def _faded(self, since: NDArray[np.integer[Any]], hour: int) -> _Array:
        """What is left of evidence since an hour."""
        faded: _Array = self._fading[np.clip(hour - since, 0, len(self._fading) - 1)]
        return faded

    def usual(self, now_s: int) -> _Array:
        """What is usual in each group: a probability by the groups' columns, in the order of ``by``."""
        hour = now_s // HOUR_S
        slot = hour % _HOURS if self.rules.hourly else 0
        fading = self._faded(self._group_hour[slot], hour)
        kept, missed = self._group_kept[slot] * fading, self._group_missed[slot] * fading
        weight = self.rules.group_asked
        usual: _Array = (kept + self.rules.prior * weight) / (kept + missed + weight)
        return usual

    def probability(self, now_s: int, rows: Rows | None = None) -> _Array:
        """Probability that each resource responds: the posterior's mean, at least the floor, below 1.

        Args:
            now_s: our clock, unix seconds.
            rows: of which resources, all there are in these columns; None = all, row by row.
        """
        chosen = np.arange(len(self.kept), dtype=np.int32) if rows is None else self._checked(rows)
        likely: _Array = _probability(self._posterior(now_s), chosen)
        return likely

    def _checked(self, rows: Rows) -> Rows:
        """Rows as the compiled loops take them, which look nothing up twice.

        Raises:
            IndexError: a row that is not there.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.kept):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self.kept)}")
        return np.ascontiguousarray(rows, dtype=np.int32)

    def _posterior(self, now_s: int) -> _Posterior:
        state = (self.kept, self.missed, self.hour, self._group, self.usual(now_s).reshape(-1))
        weight, floor = self.rules.prior_asked, self.rules.floor
        return _Posterior(*state, weight, floor, now_s // HOUR_S, self._fading)

    def expected_kw(self, rows: Rows, change_kw: Kw, now_s: int) -> float:
        """What an order of these changes of injection brings on average, kW.

        Args:
            rows: (m,) resources asked.
            change_kw: (m,) what is asked of each, injection positive.
            now_s: our clock, unix seconds.
        """
        return self.delivery(rows, change_kw, now_s).expected_kw

    def delivery(
        self, rows: Rows, change_kw: Kw, now_s: int, confidence: float = 0.9, *, any_shape: bool = False
    ) -> Delivery:
        """What an order of these changes of injection is likely to bring.

        Responses behind different providers are independent, those behind one are correlated by its
        common share c: the variance of its sum is c (Σσ)² + (1 - c) Σσ², σ being each one's deviation.

        Args:
            rows: (m,) resources asked.
            change_kw: (m,) what is asked of each, injection positive.
            now_s: our clock, unix seconds.
            confidence: probability with which ``promised_kw`` or more is delivered, from 0.5 to below 1.
            any_shape: False = the sum is normal, as of many resources; True = it may have any shape
                (Cantelli's inequality): for few resources, and where one link may take many along.

        Raises:
            ValueError: a confidence outside its range, or not one change per row.
            IndexError: a row that is not there.
        """
        if not 0.5 <= confidence < 1.0:
            raise ValueError(f"confidence {confidence}: expected 0.5 or more, below 1")
        rows = self._checked(rows)
        if len(change_kw) != len(rows):
            raise ValueError(f"{len(change_kw)} changes for {len(rows)} rows")
        apart, together = np.zeros((2, len(self._common)))
        ordered, expected = _moments(
            self._posterior(now_s), rows, np.asarray(change_kw), self._link, apart, together
        )
        spread = float(np.sqrt((1.0 - self._common) @ apart + self._common @ together**2))
        times = np.sqrt(confidence / (1.0 - confidence)) if any_shape else NormalDist().inv_cdf(confidence)
        promised = float(np.copysign(max(abs(expected) - times * spread, 0.0), expected))
        return Delivery(float(ordered), float(expected), spread, promised)

    def over_order(
        self,
        target_kw: float,
        rows: Rows,
        room_kw: Kw,
        now_s: int,
        confidence: float = 0.9,
        *,
        any_shape: bool = False,
    ) -> OverOrder:
        """How much of their room to order of resources so that a target is met with confidence.

        Args:
            target_kw: change of injection to be delivered.
            rows: (m,) resources that can be asked.
            room_kw: (m,) largest change each can give, in the direction of the target.
            now_s: our clock, unix seconds.
            confidence: as of ``delivery``.
            any_shape: as of ``delivery``.

        Raises:
            ValueError: a confidence outside its range.
        """
        whole = self.delivery(rows, room_kw, now_s, confidence, any_shape=any_shape)
        # Mean and deviation grow alike with the share, and so does the promise.
        needed = target_kw / whole.promised_kw if whole.promised_kw else inf
        share = 0.0 if target_kw == 0.0 else min(needed, 1.0) if needed > 0 else 0.0
        part = Delivery(*(share * value for value in whole))
        return OverOrder(share, part, 0.0 if 0.0 <= needed <= 1.0 else target_kw - part.promised_kw)


def _fading(rules: HealthRules) -> _Array:
    """What is left of evidence by its age in hours; of older than the last nothing is."""
    lasting = np.arange(int(np.ceil(-np.log2(_FORGOTTEN) * rules.half_life_s / HOUR_S)) + 2)
    fading: _Array = np.exp2(-lasting * HOUR_S / rules.half_life_s)
    fading[-1] = 0.0
    return fading


def _names(fleet: Fleet, name: str) -> tuple[str, ...]:
    return tuple(kind.name for kind in Kind) if name == "kind" else fleet.labels[name]


def _group(fleet: Fleet, by: tuple[str, ...]) -> Rows:
    """Number of each row's combination of codes."""
    group = np.zeros(len(fleet.ids), dtype=np.int32)
    for name in by:
        group = group * len(_names(fleet, name)) + fleet.columns[name]
    return group.astype(np.int32)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _learn(
    kept: NDArray[np.float32],
    missed: NDArray[np.float32],
    since: Rows,
    asked: Rows,
    latest: Codes,
    rows: Rows,
    share: _Array,
    status: Codes,
    hour: int,
    keep: float,
    fading: _Array,
) -> None:
    """Fade what is known of each asked resource, by one outcome and the hours since, and add the new."""
    last = len(fading) - 1
    for i in range(len(rows)):
        row = rows[i]
        left = keep * fading[min(max(hour - since[row], 0), last)]
        kept[row] = kept[row] * left + share[i]
        missed[row] = missed[row] * left + (1.0 - share[i])
        since[row] = max(hour, since[row])
        asked[row] += 1
        latest[row] = status[i]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _likely(posterior: _Posterior, row: int) -> float:
    """Mean of a row's posterior, at least the floor."""
    p = posterior
    left = p.fading[min(max(p.hour - p.since[row], 0), len(p.fading) - 1)]
    kept = float(p.kept[row]) * left
    mean = (kept + p.weight * p.usual[p.group[row]]) / (kept + float(p.missed[row]) * left + p.weight)
    likely: float = max(mean, p.floor)
    return likely


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _probability(posterior: _Posterior, rows: Rows) -> _Array:
    probability = np.empty(len(rows))
    for i in range(len(rows)):
        probability[i] = _likely(posterior, rows[i])
    return probability


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _moments(
    posterior: _Posterior, rows: Rows, change_kw: Kw, link: Rows, apart: _Array, together: _Array
) -> tuple[float, float]:
    """Sums of what is asked and of its mean; by link, the summed variances and the summed deviations."""
    ordered, expected = 0.0, 0.0
    for i in range(len(rows)):
        likely, change = _likely(posterior, rows[i]), float(change_kw[i])
        deviation = np.sqrt(likely * (1.0 - likely)) * change
        ordered += change
        expected += likely * change
        apart[link[rows[i]]] += deviation * deviation
        together[link[rows[i]]] += deviation
    return ordered, expected
