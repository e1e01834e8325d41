"""Canary first: what a new author, or a changed policy, asks goes to a few and then to the rest."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gridflock.dispatch.guard._asked import Asked, Moves
from gridflock.dispatch.guard._held import Held
from gridflock.dispatch.guard._limits import GuardLimits
from gridflock.dispatch.guard._state import GuardState, Trial
from gridflock.fleet import Image
from gridflock.model import Priority
from gridflock.units import Codes, Mask, Rows

_KNUTH = np.uint64(0x9E3779B97F4A7C15)


def hold_untried(
    why: Codes, moves: Moves, asked: Asked, image: Image, limits: GuardLimits, state: GuardState
) -> tuple[GuardState, Mapping[str, bool]]:
    """Hold, in place, all but a few orders of authors who have not been answered well yet.

    An author whose first orders go to at least ``canary_from`` members is tried out on
    ``canary_share`` of them (``canary_least`` at least), chosen by a hash; what holds the grid inside its
    limits is not kept waiting. When ``canary_good`` of those have answered well the
    author is proven; when so many cannot any more, or time is up, nothing new of that author goes
    out for as long again. Under another policy everybody is new.

    Returns:
        The state with the trials, and the authors whose trial has ended: well or not.
    """
    if state.policy != asked.policy:
        state = replace(state, proven=frozenset(), trials={})
    if limits.canary_share >= 1.0:
        return state, {}
    trials, ended = _judged(state.trials, limits, image)
    proven = state.proven.union(author for author, well in ended.items() if well)
    authors = ["" if wish.priority <= Priority.ENVELOPE else wish.author for wish in asked.proposals]
    names = [author for author in dict.fromkeys(authors) if author]
    number = {author: k for k, author in enumerate(names)}
    code = np.array([*(number.get(author, -1) for author in authors), -1])[asked.source]
    for author in [name for name in names if name not in proven]:
        new = (code == number[author]) & (why == Held.NOT) & ~moves.repeats
        trial = trials.get(author)
        if trial is None:
            if new.sum() < max(limits.canary_from, 1):
                continue
            trial = trials[author] = _begun(author, asked, new, limits, image.now_s)
        _hold(why, new, asked.rows, trial)
    return replace(state, proven=proven, trials=trials), ended


def _judged(
    trials: Mapping[str, Trial], limits: GuardLimits, image: Image
) -> tuple[dict[str, Trial], dict[str, bool]]:
    """Trials that go on, and the authors whose trial has ended: well or not.

    A device answers once it has heard: a trial lasts longer by what the slowest of its members may take.
    """
    going, ended = dict[str, Trial](), dict[str, bool]()
    now_s, reach_s = image.now_s, image.columns["reach_s"]
    for author, trial in trials.items():
        if trial.rests_until_s >= 0:
            if trial.rests_until_s > now_s:
                going[author] = trial
            continue
        needed = math.ceil(limits.canary_good * len(trial.rows))
        if trial.good.sum() >= needed:
            ended[author] = True
            continue
        lasts_s = limits.trial_s + float(reach_s[trial.rows].max(initial=0.0))
        if trial.bad.sum() > len(trial.rows) - needed or now_s - trial.since_s >= lasts_s:
            ended[author] = False
            going[author] = replace(trial, rests_until_s=now_s + limits.trial_s)
        else:
            going[author] = trial
    return going, ended


def _begun(author: str, asked: Asked, new: Mask, limits: GuardLimits, now_s: int) -> Trial:
    """A trial on some of the members that an author asks: another choice each time."""
    rows = asked.rows[new]
    seed = np.uint64(zlib.crc32(f"{author} {now_s}".encode()))
    mixed = (rows.astype(np.uint64) + seed) * _KNUTH
    many = max(1, limits.canary_least, math.ceil(limits.canary_share * len(rows)))
    few = np.sort(rows[np.argsort(mixed, kind="stable")[:many]])
    nobody = np.zeros(len(few), dtype=bool)
    return Trial(few, asked.next_id, now_s, nobody, nobody)


def _hold(why: Codes, new: Mask, rows: Rows, trial: Trial) -> None:
    """Hold what is not on trial; after a failed one all that is new."""
    allowed = np.zeros(len(rows), dtype=bool)
    if trial.rests_until_s < 0:
        allowed = np.isin(rows, trial.rows)
    why[new & ~allowed] = Held.CANARY
