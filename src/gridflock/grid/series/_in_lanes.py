"""Quasi-static time series in lanes: all steps side by side, the controls' walk over time in between.

Steps sit in lanes and taps are sequential. So: walk through time with what is known, solve every
(step, control state) at which the walk could be wrong, walk again, until a walk asks nothing more.
Then every step is solved where it ends, and the answer stands if a walk that knows these ends asks
nothing and ends there. First a walk asks only what is likely to be wrong, as everything after it depends
on that; the last ones ask all that might be. A decision that lies nearer to its threshold than float32
lanes can tell is taken again in float64. What the walk does with exact sights is what the step-by-step
engine does. Inverters act within every solution of the lanes.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._batch import Spread
from gridflock.grid._network import Float, Network
from gridflock.grid._state import ControlState, initial
from gridflock.grid.series._curves import respond
from gridflock.grid.series._march import (
    DOUBT,
    DOUBT_ACTING,
    EXACT,
    ROUGH,
    SOLVED,
    Known,
    Rules,
    States,
    Walk,
    holds,
    predicted,
    rules,
    walk,
)
from gridflock.grid.series._questions import Answers, Questions
from gridflock.grid.series._steps import BAND_PU, ROUNDS, Progress, Series, Steps, phase_nodes
from gridflock.units import Mask, Rows

_Number = TypeVar("_Number", bound=np.generic)

LEVELS = 12
"""Levels of load at which the sensitivities are taken, each where the controls stand there."""
FIRST_LEVELS = 3
"""The same before that is known, at the typical state."""
BLOCK = 4096
"""Steps whose last states are solved in one go, alike in load."""
SAMPLES = 5
"""Steps solved at the typical state for every number the fit to them has."""
CORRECTED_FROM = 8
"""With so many times more steps than the fit takes, what it misses is fitted, too."""
STAGES = (0.2, 1.0)
"""Shares of the doubt: first what is likely to be wrong is asked, as much depends on it later on, then what
might be."""
ROOM = 8
"""Solved pairs for every step there is room for at first."""
READ = 256
"""Steps whose inverters' powers are read from their curves in one go: their arrays stay in the cache."""
WALKS = 60
"""After so many walks what is left goes step by step: by then almost nothing is."""


def in_lanes(
    network: Network,
    steps: Steps,
    state: ControlState | None = None,
    *,
    controls: bool = True,
    rounds: int = ROUNDS,
    nodes: Rows | None = None,
    band_pu: tuple[float, float] = BAND_PU,
    progress: Progress | None = None,
    spread: Spread = map,
    parts: int = 1,
) -> Series:
    """Solve a series with its steps side by side: the answer of ``step_by_step``, without its losses.

    Args:
        network: the feeder.
        steps: what happens to it; ``inject_kva`` must be None.
        state: positions before the first step; as written in the feeder if None.
        controls: let regulators and capacitors act.
        rounds: control rounds a step may take.
        nodes: nodes whose complex voltages are kept.
        band_pu: voltages outside it are counted.
        progress: told how many steps stand, and of how many.
        spread: how parts are run: ``map``, or a thread pool's (the kernels hold no lock).
        parts: into how many parts the lanes are cut.

    Raises:
        ValueError: injections at nodes, which only ``step_by_step`` takes.
    """
    if steps.inject_kva is not None:
        raise ValueError("injections at nodes are solved step by step; in lanes they must be ports")
    state = initial(network) if state is None else state
    kept = np.zeros(0, dtype=np.int32) if nodes is None else np.asarray(nodes, dtype=np.int32)
    start = np.concatenate([state.taps, state.cap_on]).astype(np.int8)
    questions = Questions(network, steps, start, kept, spread, parts)
    out = _blank_walk(len(steps), len(start))
    out.end[:] = start
    if controls and len(start):
        answers = _decided(questions, start, rounds, out, progress, band_pu)
    else:
        out.quiet[:] = True
        everything = np.arange(len(steps), dtype=np.int32)
        answers = questions.end(everything, out.end, band_pu)
    return _series(questions, out, answers, kept)


def _decided(
    questions: Questions, start: States, rounds: int, out: Walk, progress: Progress | None,
    band_pu: tuple[float, float],
) -> Answers:  # fmt: skip
    """Walk and ask until nothing is asked; the operating points the steps end at."""
    steps, total = questions.steps, len(questions.steps)
    seconds = np.array([steps.second_s(k) for k in range(total)], dtype=np.int32)
    memory = _Memory(total, start, len(start) + len(questions.network.capacitors.ids))
    rule = _guess(questions, memory, start, rounds, seconds, out)
    everything = np.arange(total, dtype=np.int32)
    ends = _Ends(questions, band_pu, memory)
    stands, at, stage = 0, start, 0
    for _ in range(WALKS):
        last = stage + 1 == len(STAGES)
        staged = rule._replace(doubt=(STAGES[stage] * rule.doubt[0], STAGES[stage] * rule.doubt[1]))
        asked, first = walk(staged, memory.known(), at, (stands, total), rounds, seconds, out)
        if progress is not None and last:
            progress(first, total)
        if asked:
            memory.answer(questions, out.asked_step[:asked], out.asked_state[:asked])
            if first > stands:
                stands, at = first, out.end[first - 1].copy()
            continue
        sure = last and bool(memory.holds(everything, out.end).all())
        ends.solve(out.end)
        if sure:
            return ends.answers
        stands, at, stage = 0, start, min(stage + 1, len(STAGES) - 1)
    _one_by_one(questions, out, (stands, at), rounds, progress)
    ends.solve(out.end)
    return ends.answers


class _Ends:
    """The operating points at which steps end, every node looked at; the controls come to know them, too."""

    def __init__(self, questions: Questions, band_pu: tuple[float, float], memory: _Memory) -> None:
        self._questions, self._band, self._memory = questions, band_pu, memory
        total = len(questions.steps)
        self.answers = questions.blank(total)
        self._at: States | None = None
        self._all = np.argsort(questions.total_kw, kind="stable").astype(np.int32)

    def solve(self, end: States) -> None:
        """Solve the steps that end elsewhere than when they were last solved.

        Counts of nodes outside the band change by those of a step's old end and of its new one.
        """
        before, self._at = self._at, end.copy()
        if before is None:
            self._take(self._all, end)
            return
        moved = self._all[(before != end).any(axis=1)[self._all]]
        if len(moved):
            old = self._questions.end(moved, before[moved], self._band)
            self._take(moved, end)
            for counts, less in ((self.answers.below, old.below), (self.answers.above, old.above)):
                np.maximum(counts - less, 0, out=counts)

    def _take(self, steps: Rows, end: States) -> None:
        """Solve steps, so many at a time that their arrays stay near the cores."""
        questions, memory = self._questions, self._memory
        for part in np.array_split(steps, -(-len(steps) // BLOCK)):
            found = questions.end(part, end[part], self._band)
            self.answers.take(part, found)
            new = np.sort(part[~memory.holds(part, end[part])])
            place = np.searchsorted(part, new, sorter=np.argsort(part))
            row = np.argsort(part)[place]
            sights = questions.watch.sights(found.v[np.ix_(row, questions.seen)], end[new])
            memory.note(new, end[new], sights, SOLVED)


def _guess(
    questions: Questions, memory: _Memory, start: States, rounds: int, seconds: Rows, out: Walk
) -> Rules:
    """First knowledge of every step: roughly at a typical state, then where a walk by that ends."""
    total = questions.total_kw
    everything = np.arange(len(total), dtype=np.int32)
    typical = questions.typical(start)
    questions.stand_at(typical)
    features = questions.features()
    memory.note(everything, np.tile(typical, (len(total), 1)), _roughly(questions, features, typical), ROUGH)
    chosen = _levels(total, FIRST_LEVELS)
    rule = rules(questions.network, *_sensitivity(questions, chosen, np.tile(typical, (len(chosen), 1))))
    walk(rule, memory.known(), start, (0, len(total)), rounds, seconds, out)
    questions.prepare(out.end)
    chosen = _levels(total, LEVELS)
    doubt = DOUBT if questions.inverters is None else DOUBT_ACTING
    better = rules(questions.network, *_sensitivity(questions, chosen, out.end[chosen]), doubt)
    if len(total) > CORRECTED_FROM * SAMPLES * features.shape[1]:
        _corrected(questions, memory, better, features, out.end)
        walk(better, memory.known(), start, (0, len(total)), rounds, seconds, out)
    memory.learn(questions, everything, out.end, SOLVED)
    return better


def _corrected(questions: Questions, memory: _Memory, rule: Rules, features: Float, end: States) -> None:
    """Better first knowledge at the states ``end`` (T, K+M): what some steps miss, fitted to all of them."""
    total = len(features)
    everything = np.arange(total, dtype=np.int32)
    expected = predicted(rule, memory.known(), everything, end)
    told = np.concatenate([features, end / np.maximum(np.abs(end).max(axis=0), 1)], axis=1)
    count = min(total, SAMPLES * told.shape[1])
    some = np.unique(np.linspace(0, total - 1, count)).astype(np.int32)
    sights, good = questions.ask(some, end[some])
    missed = (sights - expected[some])[good]
    fit, *_ = np.linalg.lstsq(told[some][good], missed, rcond=1e-6)
    memory.note(everything, end, expected + told @ fit, ROUGH)
    memory.note(some[good], end[some][good], sights[good], SOLVED)


def _roughly(questions: Questions, features: Float, typical: States) -> Float:
    """(T, K+2M) what controls see at the typical state: some steps solved, the others fitted to these."""
    total = len(features)
    some = np.unique(np.linspace(0, total - 1, min(total, SAMPLES * features.shape[1])).astype(np.int32))
    states = np.tile(typical, (len(some), 1))
    sights, good = questions.ask(some, states, rough=True)
    if len(some) == total:
        return sights
    fit, *_ = np.linalg.lstsq(features[some][good], sights[good], rcond=1e-6)
    everywhere: Float = features @ fit
    return everywhere


def _levels(total: Float, count: int) -> Rows:
    """Steps at ascending levels of load, each in the middle of its share of them."""
    order = np.argsort(total, kind="stable")
    places = (np.arange(count) + 0.5) * len(order) / count
    return order[np.unique(places.astype(np.int64))].astype(np.int32)


def _one_by_one(
    questions: Questions, out: Walk, stands: tuple[int, States], rounds: int, progress: Progress | None
) -> None:
    """What walking does not bring to rest, by the reference path."""
    first, at = stands
    state, flow = questions.control_state(at), None
    for step in range(first, len(questions.steps)):
        end = questions.settle(step, state, flow, rounds)
        state, flow = end.state, end.flow
        out.end[step] = np.concatenate([state.taps, state.cap_on])
        out.rounds[step], out.quiet[step] = end.rounds, end.quiet
        if progress is not None:
            progress(step + 1, len(questions.steps))


def _sensitivity(questions: Questions, chosen: Rows, stand: States) -> tuple[Float, Rows]:
    """Change of each sight with each position at several levels of load, and the level of each step.

    Args:
        questions: what answers.
        chosen: (G,) steps, ascending by load.
        stand: (G, K+M) around which state at each.

    Returns:
        (G, K+2M, K+M), of voltages in parts of themselves, and (T,).
    """
    network, total, count = questions.network, questions.total_kw, stand.shape[1]
    low = np.concatenate([network.regulators.tap_low, np.zeros(len(network.capacitors.ids), dtype=np.int8)])
    states = np.repeat(stand[:, None], count + 1, axis=1)
    for c in range(count):
        states[:, c + 1, c] += np.where(stand[:, c] <= low[c], 1, -1).astype(np.int8)
    every = states.reshape(-1, count)
    sights, _ = questions.ask(np.repeat(chosen, count + 1).astype(np.int32), every)
    sights = sights.reshape(len(chosen), count + 1, -1)
    moved = (states[:, 1:].astype(np.float64) - states[:, :1]).sum(axis=2)
    change = (sights[:, 1:] - sights[:, :1]) / moved[:, :, None]
    volts = sights.shape[2] - len(network.capacitors.ids)
    change[:, :, :volts] /= np.maximum(sights[:, :1, :volts], 1.0)
    middle = (total[chosen][1:] + total[chosen][:-1]) / 2.0
    level = np.searchsorted(middle, total).astype(np.int32)
    return change.transpose(0, 2, 1), level


class _Memory:
    """Solved sights of (step, state) pairs, growing."""

    def __init__(self, steps: int, start: States, seen: int) -> None:
        self._first = np.full(steps, -1, dtype=np.int32)
        room = ROOM * steps
        self._next = np.zeros(room, dtype=np.int32)
        self._state = np.zeros((room, len(start)), dtype=np.int8)
        self._sight = np.zeros((room, seen))
        self._quality = np.zeros(room, dtype=np.int8)
        self._size = 0

    def known(self) -> Known:
        """As the walk reads it."""
        return Known(self._first, self._next, self._state, self._sight, self._quality)

    def answer(self, questions: Questions, step: Rows, state: States) -> None:
        """Solve questions: those asked for the first time in float32, those asked again in float64."""
        pairs = np.unique(np.column_stack([step, state.astype(np.int32)]), axis=0)
        step, state = pairs[:, 0].astype(np.int32), pairs[:, 1:].astype(np.int8)
        again = self.holds(step, state)
        for which, quality in ((~again, SOLVED), (again, EXACT)):
            if which.any():
                self.learn(questions, step[which], state[which], quality)

    def holds(self, step: Rows, state: States) -> Mask:
        """(Q,) whether steps are solved at states, better than roughly."""
        found: Mask = holds(self.known(), step, np.ascontiguousarray(state))
        return found

    def learn(self, questions: Questions, step: Rows, state: States, quality: int) -> None:
        """Solve pairs and remember what their controls see."""
        dtype = "float64" if quality == EXACT else "float32"
        sights, _ = questions.ask(step, state, dtype)
        self.note(step, state, sights, quality)

    def note(self, step: Rows, state: States, sights: Float, quality: int) -> None:
        """Remember what the controls see at pairs, the steps ascending."""
        begin, self._size = self._size, self._size + len(step)
        while self._size > len(self._next):
            self._next, self._quality = _doubled(self._next), _doubled(self._quality)
            self._state, self._sight = _doubled(self._state), _doubled(self._sight)
        own = np.arange(begin, self._size, dtype=np.int32)
        self._state[own], self._sight[own], self._quality[own] = state, sights, quality
        following = self._first[step].copy()
        same = np.flatnonzero(np.diff(step, prepend=-1) == 0)
        following[same] = own[same] - 1
        self._next[own] = following
        self._first[step] = own


def _doubled(rows: NDArray[_Number]) -> NDArray[_Number]:
    return np.concatenate([rows, np.zeros_like(rows)])


def _blank_walk(steps: int, controls: int) -> Walk:
    most = 4 * steps + 64
    return Walk(
        np.zeros((steps, controls), dtype=np.int8),
        np.zeros(steps, dtype=np.int32),
        np.zeros(steps, dtype=np.bool_),
        np.zeros(most, dtype=np.int32),
        np.zeros((most, controls), dtype=np.int8),
    )


def _series(questions: Questions, out: Walk, answers: Answers, nodes: Rows) -> Series:
    """The answer in the words of the step-by-step engine."""
    network, steps = questions.network, questions.steps
    found = Series.blank(network, steps, len(nodes))
    k, good = len(network.regulators.ids), answers.converged
    phases = phase_nodes(network)
    source = answers.v[:, questions.place[network.source_nodes]]
    from_source = (network.source_v - source) @ network.source_y.T
    found.taps[:], found.cap_on[:] = out.end[:, :k], out.end[:, k:] != 0
    found.rounds[:], found.quiet[:] = out.rounds, out.quiet & good
    found.converged[:], found.residual_kva[:] = good, answers.residual_kva
    found.low_pu[good], found.high_pu[good] = answers.low_pu[good], answers.high_pu[good]
    found.below[phases], found.above[phases] = answers.below[phases], answers.above[phases]
    found.head_kva[good] = -(source * np.conj(from_source)).sum(axis=1)[good] / 1000.0
    found.v[good] = answers.v[:, questions.place[nodes]][good]
    if questions.inverters is not None:
        assert steps.p_kw is not None
        own, rows = questions.inverters, np.flatnonzero(good)
        for begin in range(0, len(rows), READ):
            part = rows[begin : begin + READ]
            seen = own.seen_pu(questions.port_pu(answers.v[part]))
            found.p_kw[part], found.q_kvar[part] = respond(own.curves, steps.p_kw[part], seen)
    return found
