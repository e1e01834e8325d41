"""Canary first: what a new author, or a changed policy, asks goes to a few and then to the rest.

Few at a time is no way round it: whom an author has asked within a window counts with whom it asks now.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch.guard._asked import Asked, Moves
from gridflock.dispatch.guard._held import Held
from gridflock.dispatch.guard._limits import GuardLimits
from gridflock.dispatch.guard._state import GuardState
from gridflock.dispatch.guard._trial import Trial
from gridflock.fleet import Image
from gridflock.model import Priority
from gridflock.units import Codes, Kw, Mask, Rows

_KNUTH = np.uint64(0x9E3779B97F4A7C15)
_SAME_KW = 1e-3
"""An order that differs by less from the one in force asks for nothing new."""
_SLOWEST_S = 3_600
"""A rest lasts longer by what slow members take, and by no more than this."""


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """What the canary made of a pass.

    Attributes:
        state: with authors who are proven by now, and trials that began or go on.
        ended: authors whose trial has ended: well or not.
        places: of candidates, by author who is not proven.
    """

    state: GuardState
    ended: Mapping[str, bool]
    places: Mapping[str, NDArray[np.intp]]

    def sent(self, keep: Mask, asked: Asked, moves: Moves, now_s: int) -> GuardState:
        """The state once it is known what goes out: those who are reached by it have been asked."""
        if not (self.state.trials or self.places):
            return self.state
        order_id, sent = asked.next_id + np.cumsum(keep) - 1, asked.rows[keep]
        trials, nowhere = dict(self.state.trials), np.zeros(0, dtype=np.intp)
        for author in dict.fromkeys((*trials, *self.places)):
            places = self.places.get(author, nowhere)
            gone = places[keep[places]]
            trial = trials.get(author, Trial.of_nobody()).taken(sent, asked.rows[gone])
            gone = gone[_new(moves, gone) | trial.has(asked.rows[gone])]
            if len(gone):
                trial = trial.asked(asked.rows[gone], order_id[gone], np.abs(moves.move_kw[gone]), now_s)
            if len(trial.rows) or author in trials:
                trials[author] = trial
        return replace(self.state, trials=trials)


def hold_untried(
    why: Codes, moves: Moves, asked: Asked, image: Image, limits: GuardLimits, state: GuardState
) -> Tried:
    """Hold, in place, all but a few orders of authors who have not been answered well yet.

    An author who is not proven may ask fewer than ``canary_from`` members, and move ``canary_kw``, in any
    ``canary_window_s``. With more it is tried out: on those it has asked already, and on so many chosen by
    a hash that they are ``canary_share`` of all (``canary_least`` at least). When ``canary_good`` of those
    have answered well the author is proven; when so many cannot any more, nothing new of that author goes
    out for a while, and then again it is tried out on ``canary_least``. What holds the grid inside its
    limits is not kept waiting. Under another policy everybody is new.
    """
    if state.policy != asked.policy:
        state = replace(state, proven=frozenset(), trials={})
    if limits.canary_share >= 1.0:
        return Tried(state, {}, {})
    trials, ended = _judged(state.trials, limits, image)
    found = _places(why, asked, limits, state.proven.union(_names(ended)))
    for author, places in found.items():
        trial = trials.get(author, Trial.of_nobody())
        new = places[_new(moves, places)]
        rows, kw = asked.rows[new], np.abs(moves.move_kw[new])
        trial = _begun(trial, author, rows, kw, limits, image.now_s)
        if trial.wanted and _well(trial, limits):
            ended[author] = True
            continue
        why[new[~_allowed(trial, author, rows, kw, limits, image.now_s)]] = Held.CANARY
        if trial.wanted or trial.failed:
            trials[author] = trial
    proven = _names(ended)
    left = {author: trial for author, trial in trials.items() if author not in proven}
    found = {author: places for author, places in found.items() if author not in proven}
    return Tried(replace(state, proven=state.proven | proven, trials=left), ended, found)


def _names(ended: Mapping[str, bool]) -> frozenset[str]:
    """Authors whose trial has ended well."""
    return frozenset(author for author, well in ended.items() if well)


def _well(trial: Trial, limits: GuardLimits) -> bool:
    """Whether enough of those who are wanted have answered well."""
    return bool(trial.good.sum() >= math.ceil(limits.canary_good * trial.wanted))


def _places(
    why: Codes, asked: Asked, limits: GuardLimits, proven: frozenset[str]
) -> dict[str, NDArray[np.intp]]:
    """Places of the candidates that nothing speaks against, by author who is not proven."""
    authors = [
        "" if wish.priority <= Priority.ENVELOPE and not limits.external(wish) else wish.author
        for wish in asked.proposals
    ]
    names = [author for author in dict.fromkeys(authors) if author and author not in proven]
    if not names:
        return {}
    number = {author: k for k, author in enumerate(names)}
    code = np.array([*(number.get(author, -1) for author in authors), -1])[asked.source]
    some = np.flatnonzero((code >= 0) & (why == Held.NOT))
    some = some[np.argsort(code[some], kind="stable")]
    ends = np.searchsorted(code[some], np.arange(len(names) + 1))
    return {author: some[ends[k] : ends[k + 1]] for k, author in enumerate(names) if ends[k + 1] > ends[k]}


def _new(moves: Moves, places: NDArray[np.intp]) -> Mask:
    """Which ask for something new: an order that repeats the one in force to within a little may creep."""
    new: Mask = ~moves.repeats[places] | (np.abs(moves.move_kw[places]) > _SAME_KW)
    return new


def _judged(
    trials: Mapping[str, Trial], limits: GuardLimits, image: Image
) -> tuple[dict[str, Trial], dict[str, bool]]:
    """Whom to go on watching and trying out, and the authors whose trial has ended: well or not.

    Who has not answered ``trial_s`` after it can have heard is silent. A rest lasts ``trial_s`` and as long
    as the slowest of those asked takes: until then a device may yet do what is no longer wanted.
    """
    going, ended = dict[str, Trial](), dict[str, bool]()
    now_s, reach_s = image.now_s, image.columns["reach_s"]
    for author, trial in trials.items():
        if trial.wanted == 0:
            left = trial.since(now_s - limits.canary_window_s)
            if len(left.rows) or (trial.failed and now_s - trial.rests_until_s < limits.canary_window_s):
                going[author] = left
            continue
        if _well(trial, limits):
            ended[author] = True
            continue
        slow_s = reach_s[trial.rows].astype(np.float64)
        silent = trial.silent(limits.trial_s + slow_s, now_s)
        needed = math.ceil(limits.canary_good * trial.wanted)
        if (trial.bad | silent).sum() > trial.wanted - needed:
            ended[author] = False
            rest_s = limits.trial_s + min(math.ceil(slow_s.max(initial=0.0)), _SLOWEST_S)
            going[author] = Trial.of_nobody(now_s + rest_s)
        else:
            going[author] = trial
    return going, ended


def _begun(trial: Trial, author: str, rows: Rows, kw: Kw, limits: GuardLimits, now_s: int) -> Trial:
    """A trial where by now so many are asked, or so much is moved, that there must be one."""
    if trial.wanted or trial.rests_until_s > now_s or not len(rows):
        return trial
    many = len(trial.rows)
    total = many + int((~trial.has(rows)).sum())
    most = min(limits.canary_from, limits.canary_least) if trial.failed else limits.canary_from
    if total < max(most, 1) and trial.moved_kw.sum() + kw.sum() <= limits.canary_kw:
        return trial
    few = max(1, limits.canary_least, math.ceil(limits.canary_share * total), many)
    begun = replace(trial, wanted=few, since_s=now_s)
    return replace(begun, wanted=many + len(_chosen(begun, author, rows, kw, limits)))


def _allowed(trial: Trial, author: str, rows: Rows, kw: Kw, limits: GuardLimits, now_s: int) -> Mask:
    """Which of the rows that are asked for something new may be: in a rest none, in a trial its members."""
    if trial.wanted == 0:
        return np.full(len(rows), trial.rests_until_s <= now_s)
    allowed = trial.has(rows)
    allowed[_chosen(trial, author, rows, kw, limits)] = True
    return allowed


def _chosen(trial: Trial, author: str, rows: Rows, kw: Kw, limits: GuardLimits) -> NDArray[np.intp]:
    """Which of the rows become members of a trial that has not all it wants: another choice each time.

    They move no more than is left of ``canary_kw``; where nobody is waited for, one goes all the same.
    """
    room = trial.wanted - len(trial.rows)
    others = np.flatnonzero(~trial.has(rows)) if room > 0 else np.zeros(0, dtype=np.intp)
    if not len(others):
        return others
    seed = np.uint64(zlib.crc32(f"{author} {trial.since_s}".encode()))
    mixed = (rows[others].astype(np.uint64) + seed) * _KNUTH
    turn = others[np.argsort(mixed, kind="stable")]
    room_kw = limits.canary_kw - float(trial.moved_kw.sum())
    fits = turn[kw[turn] <= room_kw]
    fits = fits[np.cumsum(kw[fits]) <= room_kw]
    if not len(fits) and (trial.good | trial.bad).all():
        fits = turn[[int(np.argmin(kw[turn]))]]
    return fits[:room]
