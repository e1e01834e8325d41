"""All rules over all series, each on what the ones before have mended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._sun import Site
from gridflock.forecast.quality import _clock, _label, _level, _own
from gridflock.forecast.quality._daylight import Daylight, daylight
from gridflock.forecast.quality._finding import Finding, Kind, Repair, Rule
from gridflock.forecast.quality._gather import gathered
from gridflock.forecast.quality._repair import Repaired, repaired
from gridflock.forecast.quality._track import Floats, Track
from gridflock.model import History
from gridflock.units import DAY_S, HOUR_S, Seconds, TimeGrid

_SUNNY = (Kind.SOLAR, Kind.IRRADIANCE)
_FEWEST_DAYS = 7
_AGREE_H = 0.75
"""Lags of several series to one channel of light that differ by less are the channel's own."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, and what could not be looked at.

    Attributes:
        findings: by series in the order of the history, then as they were found.
        left_out: rules that were not applied, with the reason.
    """

    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]


def examine(history: History, kinds: Mapping[str, Kind | str], site: Site | None = None) -> Examination:
    """Find what is wrong with a history.

    Nothing is told in advance but what each series is said to measure, and where it stands. A rule sees
    what the safe repairs of the rules before it leave: units first, then names and signs, then clocks,
    then standstill and levels. All times in the findings are by the stamps as they came.

    Args:
        history: S series on uniform steps that divide a day; irradiance may stand among them as a
            series of its own, in any unit.
        kinds: what each series is said to measure; others are ``Kind.OTHER``.
        site: where they stand; without it clocks are compared with each other, not with the sun.

    Raises:
        ValueError: the history's steps are not uniform, or do not divide a day.
    """
    step_s = _uniform_step(history)
    labels = {name: Kind(kinds.get(name, Kind.OTHER)) for name in history.series}
    start_s = int(history.grid.edges_s[0])
    found: dict[str, list[Finding]] = {name: [] for name in history.series}
    tracks = {
        name: Track(name, labels[name], start_s, step_s, np.array(row, dtype=np.float64))
        for name, row in zip(history.series, history.value_kw, strict=True)
    }
    for name, track in tracks.items():
        tracks[name] = _alone(track, found[name])
    long = history.grid.n * step_s >= _FEWEST_DAYS * DAY_S
    sunny = any(kind in _SUNNY for kind in labels.values())
    sun = daylight(site, start_s, step_s, history.grid.n) if site and sunny and long else None
    if long:
        _clocks(tracks, found, sun, site)
    for name, track in tracks.items():
        back = [finding for finding in found[name] if finding.repair is Repair.SHIFT]
        later = _level.dead_days(track, sun) + _level.level_faults(track)
        found[name] += [_moved_back(finding, back) for finding in later]
    return Examination(
        tuple(finding for name in history.series for finding in found[name]), _left_out(long, sunny, site)
    )


def check(
    t_s: Seconds | Floats,
    columns: Mapping[str, NDArray[Any]],
    kinds: Mapping[str, Kind | str],
    site: Site | None = None,
    step_s: int | None = None,
) -> tuple[Repaired, Examination]:
    """Stamps and columns as they came, to a mended history and all that was found.

    Args:
        t_s: (n,) start of each row's step, unix seconds, in any order.
        columns: (n,) each, by series, house sign.
        kinds: what each series is said to measure.
        site: where they stand.
        step_s: length of a step; None = found in the stamps.

    Raises:
        ValueError: a column has another length than ``t_s``, or the step does not divide a day.
    """
    history, stamps = gathered(t_s, columns, step_s)
    seen = examine(history, kinds, site)
    whole = replace(seen, findings=(*stamps, *seen.findings))
    return repaired(history, whole.findings, {name: Kind(kind) for name, kind in kinds.items()}), whole


def unheard(history: History) -> tuple[Finding, ...]:
    """What is missing in columns of which nothing else is known, such as weather's.

    Columns without a value, gaps of hours, values that are not finite; that a column speaks more seldom than
    the steps are is no fault.

    Raises:
        ValueError: the history's steps are not uniform, or do not divide a day.
    """
    step_s, start_s = _uniform_step(history), int(history.grid.edges_s[0])
    found: list[Finding] = []
    for name, row in zip(history.series, history.value_kw, strict=True):
        track = Track(name, Kind.OTHER, start_s, step_s, np.array(row, dtype=np.float64))
        for finding in _own.absent(track) + _own.not_finite(track):
            seldom = finding.rule is Rule.SHORT or (
                finding.rule is Rule.GAP and "hours" not in finding.evidence
            )
            if not seldom:
                found.append(finding)
    return tuple(found)


def _uniform_step(history: History) -> int:
    edges = history.grid.edges_s
    step_s = int(edges[1] - edges[0]) if history.grid.n else HOUR_S
    if step_s <= 0 or DAY_S % step_s or (np.diff(edges) != step_s).any() or int(edges[0]) % step_s:
        raise ValueError(
            "a history to examine needs uniform steps that divide a day, from a multiple of them"
        )
    return step_s


def _alone(track: Track, found: list[Finding]) -> Track:
    """A series after the rules that need nothing but itself; what they found is added."""
    found += _own.absent(track)
    few = any(finding.rule in {Rule.EMPTY, Rule.SHORT} for finding in found)
    rules = (_own.not_finite, _own.unit_jumps, _own.outliers, _own.standstill, _label.wrong_sign)
    for rule in rules[:1] if track.kind is Kind.PRICE else rules:
        findings = rule(track)
        found += findings
        track = _after(track, findings)
    findings = [] if few else _label.mislabelled(track)
    found += findings
    return replace(track, kind=Kind.OTHER) if findings else track


def _after(track: Track, findings: list[Finding]) -> Track:
    """A series after the safe repairs of some findings."""
    if not findings:
        return track
    grid = TimeGrid.uniform(track.start_s, track.step_s, track.n)
    mended = repaired(History(grid, (track.series,), track.value[None]), findings).history
    return track.with_value(np.asarray(mended.value_kw[0], dtype=np.float64))


def _clocks(
    tracks: dict[str, Track], found: dict[str, list[Finding]], sun: Daylight | None, site: Site | None
) -> None:
    """Compare clocks with the sun, then with the channels of light; then the signs of net loads."""

    def settle(name: str, findings: list[Finding]) -> None:
        found[name] += findings
        tracks[name] = _after(tracks[name], findings)

    if sun is not None and site is not None:
        for name, track in tracks.items():
            if track.kind in _SUNNY:
                settle(name, _clock.beside_sun(track, sun, site.timezone))
    held = [
        name
        for name, track in tracks.items()
        if track.kind is Kind.NET or (track.kind is Kind.SOLAR and not sun)
    ]
    lights = {
        name: track.value
        for name, track in tracks.items()
        if track.kind is Kind.IRRADIANCE and track.known.any()
    }
    beside = {name: _clearest(tracks[name], lights) for name in held if lights}
    lags = {name: _clock.beside_light(tracks[name], lights[light], light) for name, light in beside.items()}
    for name, findings in lags.items():
        others = [lags[other] for other, light in beside.items() if light == beside[name] and lags[other]]
        if findings and sun is None and _agree(others):
            continue
        settle(name, findings)
    for light in dict.fromkeys(beside.values()) if sun is None else ():
        of = [lags[name] for name, other in beside.items() if other == light and lags[name]]
        if of and _agree(of):
            settle(light, [_turned(of, tracks[light])])
    for name, light in beside.items():
        settle(name, _label.net_sign(tracks[name], tracks[light].value, light))


def _clearest(track: Track, lights: Mapping[str, Floats]) -> str:
    """The channel of light that a series follows best, at whatever lag."""
    if len(lights) == 1:
        return next(iter(lights))
    return max(lights, key=lambda light: abs(_clock.lag_between(track, lights[light])[1]))


def _agree(lags: list[list[Finding]]) -> bool:
    """Whether series lie by the same to their channel of light: then the channel is at fault."""
    hours = [findings[0].evidence["lag_h"] for findings in lags]
    return max(hours) - min(hours) < _AGREE_H


def _turned(lags: list[list[Finding]], light: Track) -> Finding:
    """The lag of all that follow a channel as a fault of the channel."""
    first = lags[0][0]
    lag = float(np.median([findings[0].evidence["lag_h"] for findings in lags]))
    amount = round(lag * HOUR_S / light.step_s) * light.step_s
    names = ", ".join(findings[0].series for findings in lags[:3])
    seen = f"it lies {abs(lag):.2f} h {'before' if lag > 0 else 'after'} what follows it ({names})"
    corr, none = (first.evidence[name] for name in ("correlation", "correlation_unshifted"))
    seen += f": correlation {corr:.2f} at that lag, {none:.2f} without"
    return light.finding(
        Rule.CLOCK_SHIFT, (0, light.n), seen, dict(first.evidence) | {"lag_h": -lag}, Repair.SHIFT, amount
    )


def _moved_back(finding: Finding, moves: list[Finding]) -> Finding:
    """A finding on mended clocks, by the stamps as they came."""

    def before(t_s: int) -> int:
        for move in moves:
            if move.from_s <= t_s - move.amount < move.until_s:
                return t_s - int(move.amount)
        return t_s

    return replace(finding, from_s=before(finding.from_s), until_s=before(finding.until_s - 1) + 1)


def _left_out(long: bool, sunny: bool, site: Site | None) -> tuple[str, ...]:  # noqa: FBT001 - what there is
    """Why some rules were not applied."""
    if not long:
        return (f"clocks: less than {_FEWEST_DAYS} days",)
    if not sunny:
        return ("clocks: no series of light to compare with",)
    return () if site else ("clocks against the sun: no site given",)
