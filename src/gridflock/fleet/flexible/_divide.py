"""A trajectory of the group divided among its members, or the proof that it cannot be.

Among all divisions the one is sought that strays least, by size, from what members do at ease. Its
dual is a convex function of one price per step, smooth, with a piecewise linear gradient: the sum of
the members' nearest schedules less the trajectory. A damped Newton method with the exact derivative
ends in finitely many steps where the prices are bounded, and for convex quadratic programs they are
as soon as the trajectory can be divided at all. Where it cannot, prices grow without end until the
members' best answer is worth less than the trajectory, which proves it outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from gridflock.fleet.flexible._blocks import Blocks, Turns
from gridflock.fleet.flexible._chains import Chains
from gridflock.fleet.flexible._compiled import Array, Spread
from gridflock.fleet.flexible._mixing import Mix
from gridflock.fleet.flexible._nearest import Nearest, nearest
from gridflock.fleet.flexible._vertex import best
from gridflock.units import Kw

TOLERANCE_KW = 1e-6
"""Sums of members' schedules meet the trajectory this closely at every step."""
NEWTON_ROUNDS = 1_000
MOST_MIXES = 2_000
_PULL, _LEAST_PULL = 0.3, 1e-13
_DROP = 0.05
_PROOF_EVERY = 8
_LINE_TRIALS, _LINE_SHARE, _LINE_OVER = 20, 0.5, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Outside:
    """Why a trajectory cannot be delivered: a weighted sum of it is more than the group can give.

    Attributes:
        price: (T,) weights: per kW and step.
        asked: the weighted sum of the trajectory.
        most: the largest one the group can give, < ``asked``.
    """

    price: Array
    asked: float
    most: float


@dataclass(frozen=True, slots=True, eq=False)
class Division:
    """A trajectory as schedules of the members.

    Attributes:
        chains_kw: (m, T) schedules of the chains, inside each one's bounds.
        drawn_kw: (H, T) powers that blocks draw from each switching step on (see ``Turns``).
        residual_kw: largest miss of the trajectory over the steps, before rounding to whole devices.
        rounds: evaluations of all members.
    """

    chains_kw: Kw
    drawn_kw: Kw
    residual_kw: float
    rounds: int


class Group:
    """Members of all forms that answer prices together.

    Attributes:
        chains: the stores and whatever is bounded like one.
        turns: the on/off loads.
    """

    def __init__(self, chains: Chains, blocks: Blocks, spread: Spread = map, parts: int = 1) -> None:
        self.chains, self.turns = chains, Turns(blocks)
        self._spread, self._parts = spread, parts
        width = (chains.p_hi_kw - chains.p_lo_kw).max(axis=1, initial=0.0)
        self._sizes = np.where(width > 0.0, width, 1.0)
        self.size_kw = float(self._sizes.sum() + self.turns.room_kw.sum())
        self.schedule = np.empty(chains.p_lo_kw.shape)
        self.drawn = np.zeros(self.turns.room_kw.shape)

    def nearest(self, price: Array) -> Nearest:
        """Answer of all to a price; the members' own stand in ``schedule`` and ``drawn``."""
        stores = nearest(self.chains, self._sizes, price, self.schedule, self._spread, self._parts)
        if not self.turns.blocks.n:
            return stores
        loads = self.turns.nearest(price, self.drawn)
        return Nearest(stores.p_kw + loads.p_kw, stores.worth + loads.worth, stores.reach + loads.reach)

    def best(self, price: Array) -> Kw:
        """(T,) vertex of the sum of all sets in the direction of a price."""
        stores = best(self.chains, price, self.schedule, self._spread, self._parts)
        self.drawn[:] = self.turns.best(price)
        vertex: Kw = stores + self.turns.power(self.drawn)
        return vertex

    def most_cost(self) -> float:
        """The largest cost of straying that all together can have."""
        low, high = self.chains.p_lo_kw, self.chains.p_hi_kw
        ease = np.clip(0.0, low, high)
        far = np.maximum(ease - low, high - ease) ** 2
        return float(0.5 * (far.sum(axis=1) / self._sizes).sum()) + self.turns.most_cost()


@dataclass(slots=True, eq=False)
class _Search:
    """Proximal points of the dual, each found by Newton's method with an exact way along its direction.

    The dual plus ``pull/2·|price - centre|²`` is strictly convex and piecewise quadratic, for which
    Newton's method ends in finitely many steps; its minimum is the next centre (Rockafellar 1976; for
    the two loops together Li, Sun and Toh 2018). The pull falls with the miss, so that where nobody
    reacts any more prices still move by tens, which is far: at 1 a member strays as far as it can.
    """

    group: Group
    wanted_kw: Kw
    price: Array
    centre: Array
    at: Nearest
    pull: float
    rounds: int = 1

    @classmethod
    def begin(cls, group: Group, wanted: Kw, price: Array) -> _Search:
        at = group.nearest(price)
        return cls(group, wanted, price, price, at, _PULL * float(np.abs(at.p_kw - wanted).max()))

    @property
    def miss(self) -> Array:
        missing: Array = self.at.p_kw - self.wanted_kw
        return missing

    @property
    def height(self) -> float:
        """The dual: at the prices of a trajectory that can be divided never below minus the largest cost."""
        return self.at.worth - float(self.price @ self.wanted_kw)

    def _slope(self) -> Array:
        """Gradient of the dual with its pull."""
        tilted: Array = self.miss + self.pull * (self.price - self.centre)
        return tilted

    def advance(self) -> None:
        """One Newton step, and a new centre where it ended at the minimum."""
        slope = self._slope()
        matrix = self.at.reach + self.pull * np.eye(len(slope))
        move = -linalg.solve(matrix, slope, assume_a="pos", check_finite=False)
        self._along(move, float(slope @ move))
        left, moved = np.abs(self._slope()).max(), np.abs(self.price - self.centre).max()
        if left <= max(0.1 * self.pull * moved, 0.1 * TOLERANCE_KW):
            self.centre = self.price
            missing = float(np.abs(self.miss).max())
            self.pull = max(
                min(max(_PULL * missing, _DROP * self.pull), 0.5 * self.pull),
                _LEAST_PULL * self.group.size_kw,
            )

    def _along(self, move: Array, slope: float) -> None:
        """Go along a direction about as far as it goes down.

        The slope along the way rises, piece by piece in a line: false position within a bracket finds
        where it changes its sign.
        """
        near, far = (0.0, slope), (np.inf, 0.0)
        begin, length = self.price, 1.0
        for _ in range(_LINE_TRIALS):
            self.price = begin + length * move
            self.at = self.group.nearest(self.price)
            self.rounds += 1
            onward = float(self._slope() @ move)
            if -_LINE_SHARE * abs(slope) <= onward <= _LINE_OVER * abs(slope):
                return
            if onward < 0.0:
                near = (length, onward)
            else:
                far = (length, onward)
            if far[0] == np.inf:
                length *= 4.0
            else:
                part = 0.9 * near[1] / (near[1] - far[1])
                length = near[0] + min(max(part, 0.05), 0.95) * (far[0] - near[0])


def divide(group: Group, wanted_kw: Kw) -> Division | Outside:
    """Members' schedules that add up to a trajectory, or the proof that there are none.

    Newton's method does for what lies inside, in some ten rounds however large the group; near the
    edges, where one price moves one member only, mixing decides.

    Args:
        group: the members.
        wanted_kw: (T,) trajectory, injection positive.

    Raises:
        RuntimeError: neither was found, which would be a mistake of ours.
    """
    wanted = np.asarray(wanted_kw, dtype=np.float64)
    search = _Search.begin(group, wanted, np.zeros(len(wanted)))
    floor, mix = -group.most_cost(), Mix(wanted)
    while (missing := float(np.abs(search.miss).max())) > TOLERANCE_KW and search.rounds < NEWTON_ROUNDS:
        mix.add(search.at.p_kw, search.price)
        if search.height < floor or len(mix.prices) % _PROOF_EVERY == 0:
            found = _proof(wanted, search.price, group.best(search.price))
            if found is not None:
                return found
        search.advance()
    if missing > TOLERANCE_KW:
        return _mixed(group, wanted, mix)
    group.nearest(search.price)
    return Division(group.schedule.copy(), group.drawn.copy(), missing, search.rounds)


def _mixed(group: Group, wanted: Kw, mix: Mix) -> Division | Outside:
    """Go on with a mix of the answers so far and of vertices."""
    regular = len(mix.prices)
    for turn in range(MOST_MIXES):
        mix.solve()
        if mix.miss_kw <= 0.1 * TOLERANCE_KW:
            return _blended(group, wanted, mix, regular, regular + turn)
        vertex = group.best(mix.price)
        found = _proof(wanted, mix.price, vertex)
        if found is not None:
            return found
        mix.add(vertex, mix.price)
    raise RuntimeError(f"undecided after {MOST_MIXES} mixes: {mix.miss_kw:.3g} kW are missing")


def _blended(group: Group, wanted: Kw, mix: Mix, regular: int, rounds: int) -> Division:
    """Schedules that mix each member's own answers; the first ``regular`` ones strayed at a cost."""
    schedule, drawn = np.zeros(group.schedule.shape), np.zeros(group.drawn.shape)
    for k in np.flatnonzero(mix.weights):
        (group.nearest if k < regular else group.best)(mix.prices[k])
        schedule += mix.weights[k] * group.schedule
        drawn += mix.weights[k] * group.drawn
    missing = schedule.sum(axis=0) + group.turns.power(drawn) - wanted
    return Division(schedule, drawn, float(np.abs(missing).max()), rounds)


def _proof(wanted_kw: Kw, price: Array, vertex: Kw) -> Outside | None:
    """Whether a price proves a trajectory outside: its worth exceeds that of the best answer."""
    asked, most = float(price @ wanted_kw), float(price @ vertex)
    if asked - most > 0.1 * TOLERANCE_KW * np.abs(price).sum() / len(price) + 1e-12 * abs(asked):
        return Outside(price.copy(), asked, most)
    return None
