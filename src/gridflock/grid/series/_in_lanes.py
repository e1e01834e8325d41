"""Quasi-static time series in lanes: all steps side by side, the controls' walk over time in between.

Steps sit in lanes and taps are sequential. So: walk through time with what is known, solve every
(step, control state) the walk came through unsolved, walk again; the answer stands when a walk asks
nothing more. A decision that lies nearer to its threshold than float32 lanes can tell is taken again
in float64. What the walk does with exact sights is what the step-by-step engine does.
"""

from __future__ import annotations

import numpy as np

from gridflock.grid._batch import Spread
from gridflock.grid._network import Float, Network
from gridflock.grid._state import ControlState, initial
from gridflock.grid.series._march import EXACT, ROUGH, SOLVED, Known, States, Walk, holds, rules, walk
from gridflock.grid.series._questions import Answers, Questions
from gridflock.grid.series._steps import BAND_PU, ROUNDS, Progress, Series, Steps, phase_nodes
from gridflock.units import Mask, Rows

GUESSES = 1
"""First walks whose ends alone are solved: what they come through on the way is too uncertain yet."""
LEVELS = 12
"""Levels of load at which the sensitivities are taken."""
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
        _decide(questions, start, rounds, out, progress)
    else:
        out.quiet[:] = True
    answers = questions.ask(np.arange(len(steps), dtype=np.int32), out.end, band_pu=band_pu)
    return _series(questions, out, answers, kept)


def _decide(questions: Questions, start: States, rounds: int, out: Walk, progress: Progress | None) -> None:
    """Walk and ask until nothing is asked."""
    steps, total = questions.steps, len(questions.steps)
    seconds = np.array([steps.second_s(k) for k in range(total)], dtype=np.int64)
    sights = len(start) + len(questions.network.capacitors.ids)
    memory = _Memory(total, start, sights)
    typical = questions.typical(start)
    questions.stand_at(typical)
    everything = np.arange(total, dtype=np.int32)
    memory.learn(questions, everything, np.tile(typical, (total, 1)), "float32", rough=True)
    rule = rules(questions.network, *_sensitivity(questions, typical))
    stands, at = 0, start
    for turn in range(WALKS):
        asked, first = walk(rule, memory.known(), at, (stands, total), rounds, seconds, out)
        if progress is not None:
            progress(first, total)
        if not asked:
            return
        if turn < GUESSES:
            memory.guess(questions, out.end)
            continue
        memory.answer(questions, out.asked_step[:asked], out.asked_state[:asked])
        if first > stands:
            stands, at = first, out.end[first - 1].copy()
    _one_by_one(questions, out, (stands, at), rounds, progress)


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


def _sensitivity(questions: Questions, start: States) -> tuple[Float, Rows]:
    """Change of each sight with each position at several levels of load, and the level of each step.

    Returns:
        (G, K+2M, K+M), of voltages in parts of themselves, and (T,).
    """
    network, total = questions.network, questions.total_kw()
    low = np.concatenate([network.regulators.tap_low, np.zeros(len(network.capacitors.ids), dtype=np.int8)])
    states = np.tile(start, (len(start) + 1, 1))
    for c in range(len(start)):
        states[c + 1, c] += 1 if states[c + 1, c] <= low[c] else -1
    order = np.argsort(total, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(LEVELS, len(order))).astype(np.int64)]
    every = np.tile(states, (len(chosen), 1))
    answers = questions.ask(np.repeat(chosen, len(states)).astype(np.int32), every)
    sights = questions.watch.sights(answers.v, every).reshape(len(chosen), len(states), -1)
    moved = (states[1:].astype(np.float64) - states[0]).sum(axis=1)
    change = (sights[:, 1:] - sights[:, :1]) / moved[None, :, None]
    volts = sights.shape[2] - len(network.capacitors.ids)
    change[:, :, :volts] /= np.maximum(sights[:, :1, :volts], 1.0)
    middle = (total[chosen][1:] + total[chosen][:-1]) / 2.0
    return change.transpose(0, 2, 1), np.searchsorted(middle, total).astype(np.int32)


class _Memory:
    """Solved sights of (step, state) pairs, growing."""

    def __init__(self, steps: int, start: States, seen: int) -> None:
        self._first = np.full(steps, -1, dtype=np.int32)
        self._next = np.zeros(0, dtype=np.int32)
        self._state = np.zeros((0, len(start)), dtype=np.int8)
        self._sight = np.zeros((0, seen))
        self._quality = np.zeros(0, dtype=np.int8)

    def known(self) -> Known:
        """As the walk reads it."""
        return Known(self._first, self._next, self._state, self._sight, self._quality)

    def answer(self, questions: Questions, step: Rows, state: States) -> None:
        """Solve questions: those asked for the first time in float32, those asked again in float64."""
        pairs = np.unique(np.column_stack([step, state.astype(np.int32)]), axis=0)
        step, state = pairs[:, 0].astype(np.int32), pairs[:, 1:].astype(np.int8)
        again = self._holds(step, state)
        for which, dtype in ((~again, "float32"), (again, "float64")):
            if which.any():
                self.learn(questions, step[which], state[which], dtype)

    def guess(self, questions: Questions, end: States) -> None:
        """Solve the ends of all steps that are not known."""
        step = np.arange(len(end), dtype=np.int32)
        new = ~self._holds(step, end)
        self.learn(questions, step[new], end[new], "float32")

    def _holds(self, step: Rows, state: States) -> Mask:
        """(Q,) whether steps are solved at states, better than roughly."""
        found: Mask = holds(self.known(), step, np.ascontiguousarray(state))
        return found

    def learn(
        self, questions: Questions, step: Rows, state: States, dtype: str, *, rough: bool = False
    ) -> None:
        """Solve pairs and remember what their controls see."""
        answers = questions.ask(step, state, dtype, rough=rough)
        sights = questions.watch.sights(answers.v, state)
        begin = len(self._next)
        self._state = np.concatenate([self._state, state])
        self._sight = np.concatenate([self._sight, sights])
        quality = ROUGH if rough else EXACT if dtype == "float64" else SOLVED
        self._quality = np.concatenate([self._quality, np.full(len(step), quality, dtype=np.int8)])
        following = self._first[step].copy()
        own = np.arange(begin, begin + len(step), dtype=np.int32)
        same = np.flatnonzero(np.diff(step, prepend=-1) == 0)
        following[same] = own[same] - 1
        self._next = np.concatenate([self._next, following])
        self._first[step] = own


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
        own = questions.inverters
        p = np.add.reduceat(answers.s_kva.real, own.start[:-1], axis=1)
        q = np.add.reduceat(answers.s_kva.imag, own.start[:-1], axis=1)
        found.p_kw[good], found.q_kvar[good] = p[good], q[good]
    return found
