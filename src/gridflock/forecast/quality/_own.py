"""Faults that a series shows by itself: absence, units, single values, standstill."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.quality._finding import Finding, Kind, Repair, Rule
from gridflock.forecast.quality._track import Floats, Track, begin_of, end_of, joined, median, quantile, runs
from gridflock.units import DAY_S, HOUR_S, Mask

_FEWEST_DAYS = 2
_LONG_GAP_S = 3 * HOUR_S
_THOUSAND = (2.5, 3.6)
"""Decimal logarithm of a ratio of levels that is a thousand and not a season."""
_UNIT_STEP = 1.5
"""A single step belongs to the stretch in another unit beyond this logarithm."""
_DULL = {1: 1.5, -1: 2.2}
"""A dull day belongs to it, beside days that surely do, beyond this one."""
_TELLING = 0.1
"""Share of the usual day's peak below which a step does not tell its unit."""
_FAR = 5.0
"""So many spreads of 98 in 100 values beyond them is out of all proportion."""
_LONG_STUCK_S = 8 * HOUR_S
_LONG_OFF_S = 12 * HOUR_S
_NOTHING = 1e-5
"""Share of a series' size below which it is off, which it may be for half a day."""
_MINORITY = 0.35
_MOST_ALIKE = 5
_FEWEST_ALIKE = 2
_RESTING = 0.02
"""A value at which a series stands for so large a part of its time is where it rests."""


def absent(track: Track) -> list[Finding]:
    """Nothing at all, too little, and gaps: long ones by themselves, short ones as one."""
    known = track.known
    if not known.any():
        return (
            [track.finding(Rule.EMPTY, (0, track.n), "not one value", {"steps": track.n}, safe=False)]
            if track.n
            else []
        )
    found = []
    if known.sum() < _FEWEST_DAYS * track.per_day:
        many = f"{int(known.sum())} values" if known.sum() > 1 else "one value"
        seen = f"{many}, less than two days: too little to judge by"
        found.append(track.finding(Rule.SHORT, (0, track.n), seen, {"values": known.sum()}, safe=False))
    gaps = list(runs(~known))
    for first, end in gaps:
        if (end - first) * track.step_s >= _LONG_GAP_S:
            hours = (end - first) * track.step_s / HOUR_S
            found.append(
                track.finding(Rule.GAP, (first, end), f"nothing heard for {hours:.4g} h", {"hours": hours})
            )
    short = [gap for gap in gaps if (gap[1] - gap[0]) * track.step_s < _LONG_GAP_S]
    if short:
        missing = sum(end - first for first, end in short)
        seen = f"{missing} steps missing in {len(short)} gaps under 3 h"
        found.append(
            track.finding(Rule.GAP, (short[0][0], short[-1][1]), seen, {"steps": missing, "gaps": len(short)})
        )
    return found


def not_finite(track: Track) -> list[Finding]:
    """Values that are no numbers of this world."""
    wrong = np.isinf(track.value)
    return [_masked(track, Rule.OUTLIER, at, "not finite", {}) for at in runs(wrong)]


def unit_jumps(track: Track) -> list[Finding]:
    """Stretches a thousand times larger or smaller than the rest.

    Safe where the rest is the larger part: which of two halves is right cannot be seen.
    """
    cells = np.abs(track.by_day())
    level = quantile(cells, 0.9, axis=1)
    heard = (level > 0) & (np.isfinite(cells).sum(axis=1) >= track.per_day // 2)
    if heard.sum() < _FEWEST_DAYS:
        return []
    ratio = np.full(len(level), np.nan)
    ratio[heard] = np.log10(level[heard])
    ratio -= _commonest(ratio[heard])
    found = []
    for sign in (1, -1):
        odd = heard & (sign * ratio > _THOUSAND[0]) & (sign * ratio < _THOUSAND[1])
        if not odd.any() or (sign < 0 and not _alive(cells, ratio, odd)):
            continue
        odd = _with_dull(odd, heard & (sign * ratio > _DULL[sign]))
        safe = bool(odd.sum() < _MINORITY * heard.sum())
        factor = 10.0 ** (-3 * sign)
        seen = f"values {'a thousand times' if sign > 0 else 'a thousandth of'} the usual level"
        evidence = {"log10_ratio": float(np.nanmedian(ratio[odd])), "days": odd.sum()}
        found += [
            track.finding(Rule.UNIT, at, seen, evidence, Repair.SCALE, factor, safe=safe)
            for at in _by_step(track, odd, sign)
        ]
    return found


def _with_dull(odd: Mask, dull: Mask) -> Mask:
    """Odd days with the dull ones that hang together with them."""
    found = odd.copy()
    for first, end in runs(odd | dull):
        if odd[first:end].any():
            found[first:end] = True
    return found


def _alive(cells: Floats, ratio: Floats, odd: Mask) -> bool:
    """Whether days at a thousandth of the level move like the others, and no days lie between.

    An idle charger, a house left for a week or a panel under snow is low too, but comes down through
    all levels, or stands still.
    """
    between = (ratio < -_UNIT_STEP) & (ratio > -_THOUSAND[0])
    varied = np.array([len(np.unique(row[np.isfinite(row)])) for row in cells])
    return bool(
        between.sum() <= max(1, 0.1 * odd.sum()) and np.median(varied[odd]) >= 0.5 * np.median(varied[~odd])
    )


def _commonest(levels: Floats) -> float:
    """Middle of the largest group of levels (decimal logarithms): those within one decade of each other."""
    ordered = np.sort(levels)
    end = np.searchsorted(ordered, ordered + 1.0, side="right")
    first = int((end - np.arange(len(ordered))).argmax())
    return float(np.median(ordered[first : end[first]]))


def _by_step(track: Track, odd: Mask, sign: int) -> list[tuple[int, int]]:
    """Stretches in the other unit: odd days, begun and ended where the steps turn."""
    cells = np.abs(track.by_day())
    slot = np.nan_to_num(median(np.where(odd[:, None], np.nan, cells), axis=0))
    floor = _TELLING * slot.max()
    telling = (cells > 0) & ((slot > floor) | (cells > 2 * slot.max()))
    ratio = np.log10(np.where(telling, cells, 1.0) / np.where(telling, np.maximum(slot, floor), 1.0))
    score = track.from_days(np.where(telling, sign * ratio - _UNIT_STEP, 0.0))
    found = []
    for first, end in runs(odd):
        a, b = track.step_of_day(first), min(track.step_of_day(end), track.n)
        middle = (a + b) // 2
        # At dawn and dusk no step tells its unit: what stays a thousandth there is not seen, what would
        # be made a thousand times as much is.
        begin = begin_of(score, max(a - track.per_day, 0), min(a + track.per_day, middle), tight=sign < 0)
        last = min(b + track.per_day, track.n)
        found.append((begin, end_of(score, max(b - track.per_day, middle), last, tight=sign < 0)))
    return joined(found, track.per_day // 2)


def outliers(track: Track) -> list[Finding]:
    """Single values out of all proportion to all the others."""
    known = track.known
    if known.sum() < track.per_day:
        return []
    low, high = (float(quantile(track.value, q)) for q in (0.01, 0.99))
    reach = _FAR * max(high - low, 1e-9 * max(abs(low), abs(high)))
    if reach <= 0:
        return []
    far = known & ((track.value > high + reach) | (track.value < low - reach))
    seen = f"farther than {reach:.4g} from {low:.4g} to {high:.4g}, where 98 in 100 lie"
    return [
        _masked(track, Rule.OUTLIER, at, seen, {"value": float(track.value[at[0]]), "p1": low, "p99": high})
        for at in joined(list(runs(far)), 2)
    ]


def standstill(track: Track) -> list[Finding]:
    """One value held for hours, other than a series at rest; the night's zeros of a solar series are none."""
    # One value alone stands nowhere.
    if track.known.sum() < _FEWEST_ALIKE:
        return []
    if (track.value[track.known] == track.value[track.known][0]).all():
        value = float(track.value[track.known][0])
        seen = f"{value + 0.0:.6g} throughout"
        return [track.finding(Rule.STUCK, (0, track.n), seen, {"value": value}, Repair.MASK, safe=False)]
    found = []
    rest = _resting(track)
    standing = _standing(track)
    for first, end in standing:
        value = float(track.value[first])
        if value in rest or not _rare((first, end), standing) or (_sunny(track) and value == 0.0):
            continue
        hours = (end - first) * track.step_s / HOUR_S
        seen = f"{value + 0.0:.6g} to the last digit for {hours:.4g} h"
        found.append(_masked(track, Rule.STUCK, (first, end), seen, {"value": value, "hours": hours}))
    return found


def _sunny(track: Track) -> bool:
    return track.kind in {Kind.SOLAR, Kind.IRRADIANCE}


def _standing(track: Track) -> list[tuple[int, int]]:
    """Stretches of one value that last for hours."""
    value = track.value
    same = np.concatenate([[False], value[1:] == value[:-1]])
    found = [(max(first - 1, 0), end) for first, end in runs(same)]
    off = _NOTHING * float(quantile(np.abs(value), 0.99))

    def least(first: int) -> int:
        return int(max((_LONG_OFF_S if abs(value[first]) <= off else _LONG_STUCK_S) // track.step_s, 4))

    return [(first, end) for first, end in found if end - first >= least(first)]


def _rare(at: tuple[int, int], others: list[tuple[int, int]]) -> bool:
    """Whether a series hardly ever stands half as long: where it often does, its steps are its nature."""
    half = (at[1] - at[0]) / 2
    return sum(end - first >= half for first, end in others) <= _MOST_ALIKE


def _resting(track: Track) -> set[float]:
    """Values a series comes back to and stands at: idle chargers, a house left, a machine switched off.

    A value counts where it holds for a fiftieth of the time, and on many days by more than one stretch.
    """
    stretches = _standing(track)
    values: NDArray[np.float64] = np.array([track.value[first] for first, _ in stretches])
    found = set()
    for value in np.unique(values):
        of = [at for at, other in zip(stretches, values, strict=True) if other == value]
        share = (track.value == value).sum() / max(track.known.sum(), 1)
        days = len({track.at(first) // DAY_S for first, _ in of})
        if days >= 3 and share >= _RESTING:
            found.add(float(value))
    return found


def _masked(track: Track, rule: Rule, at: tuple[int, int], seen: str, evidence: dict[str, float]) -> Finding:
    return track.finding(rule, at, seen, evidence, Repair.MASK)
