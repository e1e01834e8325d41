"""What a day must keep in AC, and whether it does: every node, every conductor, every step.

A feeder may break its limits before any device acts. What then counts is a policy: the limit as it is
(``HARD``), no worse than the worst of the day without devices (``NO_WORSE``: a vehicle may still charge when
its service is less loaded than it was at its peak), or nothing at that place and step (``IGNORE``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from gridflock.grid import Network
from gridflock.grid._network import Complex, Float
from gridflock.grid._topology import NEUTRAL
from gridflock.grid.limits._terminals import conductor_ratings
from gridflock.units import PHASES, Mask, Rows

V_COUNTS_PU = 1e-6
"""Less beyond a voltage limit is rounding."""
I_COUNTS = 1e-5
"""Less beyond a current limit, as a part of it, is rounding."""
BAND_PU = (0.95, 1.05)
UNSOLVED = "unsolved"


class Policy(StrEnum):
    """What is asked where a limit is broken already without devices."""

    HARD = "hard"
    NO_WORSE = "no_worse"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What is to be kept: T steps, n nodes, c rows of ``branch_blocks``; infinite where nothing is asked.

    Attributes:
        v_low_pu: (T, n).
        v_high_pu: (T, n).
        most_a: (T, c) ampere.
    """

    v_low_pu: Float
    v_high_pu: Float
    most_a: Float


def limits(
    network: Network,
    without_v: Complex,
    without_a: Complex,
    policy: Policy = Policy.NO_WORSE,
    *,
    band_pu: tuple[float, float] = BAND_PU,
    loading: float = 1.0,
) -> Limits:
    """The limits of a day: a voltage band for every phase node, the rating of every conductor.

    Args:
        network: the feeder.
        without_v: complex (T, n) voltages of the day without devices, V.
        without_a: complex (T, c) currents of that day, A.
        policy: what is asked where that day breaks a limit.
        band_pu: lowest and highest voltage.
        loading: largest share of the rated current; conductors without a rating have no limit.
    """
    watched = network.topology.live & (network.node_phase < NEUTRAL)
    size, amps = np.abs(without_v) / network.v_base, np.abs(without_a)
    low = np.where(watched, band_pu[0], -np.inf) * np.ones_like(size)
    high = np.where(watched, band_pu[1], np.inf) * np.ones_like(size)
    rated = conductor_ratings(network) * loading
    most = np.where(np.isnan(rated), np.inf, rated) * np.ones_like(amps)
    if policy is Policy.NO_WORSE:
        least, largest, loaded = (
            np.fmin.reduce(size, axis=0), np.fmax.reduce(size, axis=0), np.fmax.reduce(amps, axis=0)
        )  # fmt: skip
        return Limits(np.minimum(low, least), np.maximum(high, largest), np.maximum(most, loaded))
    if policy is Policy.IGNORE:
        low, high = np.where(size < low, -np.inf, low), np.where(size > high, np.inf, high)
        most = np.where(amps > most, np.inf, most)
    return Limits(low, high, most)


@dataclass(frozen=True, slots=True)
class Broken:
    """One limit that does not hold, over all its steps.

    Attributes:
        kind: ``"voltage low"``, ``"voltage high"``, ``"current"``, or ``"unsolved"``: no limit holds in a
            step without an AC solution.
        element: bus or branch; the feeder where steps are unsolved.
        phase: letter of the phase; empty at other conductors.
        step: where it is worst, or the first unsolved one.
        value: there, pu or A; NaN where unsolved.
        limit: there, the same unit.
        steps: how many steps it is broken in.
    """

    kind: str
    element: str
    phase: str
    step: int
    value: float
    limit: float
    steps: int

    def __str__(self) -> str:
        if self.kind == UNSOLVED:
            return f"no AC solution of {self.element} in {self.steps} steps, the first is step {self.step}"
        unit = "A" if self.kind == "current" else "pu"
        where = f"{self.element}.{self.phase}" if self.phase else self.element
        return (
            f"{self.kind} of {where} in {self.steps} steps, worst in step {self.step}: "
            f"{self.value:.5g} {unit} (limit {self.limit:.5g} {unit})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """How a day stands against its limits.

    Attributes:
        solved: (T,) steps with an AC solution; the others hold nothing.
        low_pu: (T, n) by how much a voltage is below its limit, negative where it holds.
        high_pu: (T, n) above it.
        over: (T, c) current beyond its limit as a part of it.
    """

    solved: Mask
    low_pu: Float
    high_pu: Float
    over: Float

    @property
    def voltages(self) -> int:
        """Nodes and steps beyond a voltage limit."""
        return int((self.low_pu > V_COUNTS_PU).sum() + (self.high_pu > V_COUNTS_PU).sum())

    @property
    def currents(self) -> int:
        """Conductors and steps beyond a current limit."""
        return int((self.over > I_COUNTS).sum())

    @property
    def unsolved(self) -> int:
        """Steps without an AC solution; voltages and currents do not count them."""
        return int((~self.solved).sum())

    @property
    def violations(self) -> int:
        """Everything that does not hold: voltages, currents, and steps without an AC solution."""
        return self.voltages + self.currents + self.unsolved

    @property
    def clean(self) -> bool:
        """Whether every step is solved and every limit holds."""
        return not self.violations

    @property
    def worst_pu(self) -> float:
        """Largest voltage violation, pu; 0 where none."""
        return max(0.0, float(self.low_pu.max(initial=0.0)), float(self.high_pu.max(initial=0.0)))

    @property
    def worst_over(self) -> float:
        """Largest current violation as a part of the limit; 0 where none."""
        return max(0.0, float(self.over.max(initial=0.0)))

    @property
    def by_step(self) -> Float:
        """(T,) each step's worst violation, pu or part of a limit; inf where it was not solved."""
        worst = np.maximum(self.low_pu.max(axis=1, initial=0.0), self.high_pu.max(axis=1, initial=0.0))
        worst = np.where(worst > V_COUNTS_PU, worst, 0.0)
        over = self.over.max(axis=1, initial=0.0)
        size: Float = np.maximum(worst, np.where(over > I_COUNTS, over, 0.0))
        return np.where(self.solved, size, np.inf)

    def broken(self, network: Network, limits: Limits, v: Complex, amps: Complex) -> tuple[Broken, ...]:
        """Unsolved steps, then each element whose limit does not hold, those broken in most steps first."""
        size = np.abs(v) / network.v_base
        blocks = network.branch_blocks
        bus = [network.buses[row] for row in network.node_bus.tolist()]
        branch = [network.branches[row] for row in blocks.owner.tolist()]
        phase = network.node_phase
        found = _named("voltage low", self.low_pu, V_COUNTS_PU, size, limits.v_low_pu, bus, phase)
        found += _named("voltage high", self.high_pu, V_COUNTS_PU, size, limits.v_high_pu, bus, phase)
        at = np.append(phase, NEUTRAL)[blocks.node]
        found += _named("current", self.over, I_COUNTS, np.abs(amps), limits.most_a, branch, at)
        return (*self._unsolved(network), *sorted(found, key=lambda one: -one.steps))

    def _unsolved(self, network: Network) -> list[Broken]:
        steps = np.flatnonzero(~self.solved).tolist()
        name = network.name or "the feeder"
        return [Broken(UNSOLVED, name, "", steps[0], np.nan, np.nan, len(steps))] if steps else []


def _named(
    kind: str, beyond: Float, counts: float, value: Float, limit: Float, element: list[str], phase: Rows
) -> list[Broken]:
    """The rows of (T, k) excesses that count, at their worst step."""
    found = []
    for row in np.flatnonzero((beyond > counts).any(axis=0)).tolist():
        step = int(beyond[:, row].argmax())
        code = int(phase[row])
        found.append(
            Broken(
                kind, element[row], PHASES[code] if code < NEUTRAL else "", step,
                float(value[step, row]), float(limit[step, row]), int((beyond[:, row] > counts).sum()),
            )
        )  # fmt: skip
    return found


def judged(network: Network, asked: Limits, v: Complex, amps: Complex) -> Verdict:
    """Hold a day against its limits.

    Args:
        network: the feeder.
        asked: what is to be kept.
        v: complex (T, n) voltages, V; NaN in steps that were not solved.
        amps: complex (T, c) currents into branches, A.
    """
    solved = np.asarray(np.isfinite(v).all(axis=1), dtype=np.bool_)
    with np.errstate(invalid="ignore"):
        size, current = np.abs(v) / network.v_base, np.abs(amps)
        return Verdict(
            solved,
            np.nan_to_num(asked.v_low_pu - size, nan=-np.inf, posinf=np.inf, neginf=-np.inf),
            np.nan_to_num(size - asked.v_high_pu, nan=-np.inf, posinf=np.inf, neginf=-np.inf),
            np.nan_to_num(current / asked.most_a - 1.0, nan=-1.0),
        )
