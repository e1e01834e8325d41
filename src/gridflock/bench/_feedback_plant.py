"""The feeder that feedback has to hold: exact AC flow every second, behind noisy, late and lossy links.

Orders take a while to be followed, readings and answers a while to be heard, some of each get lost, and the
sensitivities that feedback is given are wrong.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace

import numpy as np

from gridflock.bench._feedback_point import AROUND, INSIDE, Point, flow_of
from gridflock.dispatch.feedback import Able, Effects, Powers, Quantity, Sight, Standing, effects
from gridflock.grid._network import Float
from gridflock.plan.network._feeder import Feeder
from gridflock.units import Kvar, Kw, Rows

REACTIVE = 0.44
"""Of the apparent rating: category B of IEEE 1547-2018, §5.2."""
ANSWER_S, RESEND_S = 1, 4
"""Until an answer is heard; until an order without one is sent again."""
DEADBAND = 0.05
"""kW or kvar: less of a change is not sent."""
USUAL_PU, USUAL = 1e-4, 2e-3
"""What a voltage, and a part of what a flow, usually wanders in a second."""
FLOOR = 0.2
"""The head's meter errs in proportion to at least so much of the load."""
CURTAILING = 0.3
"""How readily sun is curtailed beside what a store of its size is moved."""


@dataclass(frozen=True, slots=True)
class Links:
    """How bad the world is.

    Attributes:
        reading_s: delay of readings.
        order_s: time until an order is followed.
        loss: part of all messages that is lost.
        noise: standard deviation of a reading, part of its value.
        wrong: largest error of a sensitivity, part of it, each drawn for itself.
        bias: what every sensitivity is multiplied by besides.
    """

    reading_s: int = 2
    order_s: int = 2
    loss: float = 0.05
    noise: float = 0.01
    wrong: float = 0.3
    bias: float = 1.0


@dataclass(slots=True, eq=False)
class _Device:
    """What devices do, were told and are known to do: arrays over n."""

    p: Float
    q: Float
    told_p: Float
    told_q: Float
    known_p: Float
    known_q: Float
    since_s: Float
    sent_p: Float
    sent_q: Float
    sent_s: Float

    @classmethod
    def at(cls, p_kw: Kw) -> _Device:
        """All at some power, none of them ever ordered."""
        power: Float = np.asarray(p_kw, dtype=np.float64)
        still, never = np.zeros(len(power)), np.full(len(power), -100.0)
        columns = (power, still, power, still, power, still, never, power, still, never)
        return cls(*(column.copy() for column in columns))


def believed(point: Point, links: Links, seed: int) -> Effects:
    """The sensitivities that feedback is given: wrong, each by itself and all of them."""
    rng = np.random.default_rng([seed, 33])
    wrong = [
        links.bias * (1.0 + links.wrong * rng.uniform(-1.0, 1.0, point.by_kw.shape).astype(np.float32))
        for _ in range(2)
    ]
    by_kw, by_kvar = (
        (one * each).astype(np.float32) for one, each in zip(wrong, (point.by_kw, point.by_kvar), strict=True)
    )
    seen = point.seen()
    return effects(by_kw[seen], by_kvar[seen], point.fleet.place, point.quantity[seen])


def lifted(feeder: Feeder, factor: float) -> Feeder:
    """A feeder with another voltage behind its head."""
    net = feeder.network
    return replace(feeder, network=replace(net, source_v=factor * net.source_v))


class Plant:
    """Time goes on by ``second``; what is seen of it by ``sight``, ``able`` and ``standing``.

    Attributes:
        t_s: seconds gone.
        load: complex (L,) loads, to be disturbed.
        sun_kw: (n,) highest power of each device, to be disturbed.
        low: (m,) limits, to be disturbed.
        high: (m,)
        truth: (t, m) true quantities so far.
        point: where it began.
    """

    def __init__(self, point: Point, links: Links, seed: int, given: Effects) -> None:
        self.point, self._links, self._effects = point, links, given
        self._rng = np.random.default_rng([seed, 32])
        self.t_s = 0
        self.load, self.sun_kw = point.load_kva.copy(), point.fleet.high_kw.copy()
        self.low, self.high = point.low.copy(), point.high.copy()
        self.ramp = np.full(len(point.names), np.inf)
        self.truth: list[Float] = []
        self._seen = point.seen()
        self._names = tuple(point.names[row] for row in self._seen.tolist())
        self.all_answer = np.ones(len(point.fleet.place), dtype=np.bool_)
        self._suns: list[Kw] = []
        self._feeder, self._flow = point.feeder, point.flow
        self._of = _Device.at(point.fleet.wanted_kw)
        self._orders: list[tuple[int, Rows, Kw, Kvar]] = []
        self._answers: list[tuple[int, Rows, Kw, Kvar, float]] = []

    def twin(self) -> Plant:
        """The same at this moment; what happens to one is nothing to the other."""
        other = copy.copy(self)
        for name in ("load", "sun_kw", "low", "high", "ramp", "truth", "_suns", "_orders", "_answers"):
            setattr(other, name, getattr(self, name).copy())
        devices = _Device(*(getattr(self._of, column.name).copy() for column in fields(_Device)))
        vars(other).update(_rng=copy.deepcopy(self._rng), _of=devices)
        return other

    def unasked(self) -> None:
        """Panels that are not held give all there is; everybody else does as told last."""
        sun, before = self.sun_kw, self._suns[-1] if self._suns else self.sun_kw
        all_of_it = self.point.fleet.of("pv") & (self._of.told_p >= before - DEADBAND)
        self._of.told_p[all_of_it] = sun[all_of_it]

    def second(self) -> None:
        """Orders whose time it is are followed and answered; then the flow of this second.

        Raises:
            ArithmeticError: it has no solution.
        """
        of, fleet = self._of, self.point.fleet
        for _, rows, p, q in [order for order in self._orders if order[0] <= self.t_s]:
            of.told_p[rows], of.told_q[rows] = p, q
            heard = self._rng.random(len(rows)) >= self._links.loss
            answer = (self.t_s + ANSWER_S, rows[heard], p[heard], q[heard], float(self.t_s))
            self._answers.append(answer)
        self._orders = [order for order in self._orders if order[0] > self.t_s]
        of.p, of.q = np.clip(of.told_p, fleet.low_kw, self.sun_kw), of.told_q.copy()
        self._flow = flow_of(self._feeder, fleet, self.load, of.p, of.q, self._flow)
        if not self._flow.converged:
            raise ArithmeticError(f"no flow after {self.t_s} s")
        self.truth.append(self.point.values(self._flow))
        self._suns.append(self.sun_kw.copy())
        for _, rows, p, q, since_s in [one for one in self._answers if one[0] <= self.t_s]:
            of.known_p[rows], of.known_q[rows], of.since_s[rows] = p, q, since_s
        self._answers = [one for one in self._answers if one[0] > self.t_s]

    def now(self) -> Point:
        """The point as it is now: source, load, sun, limits and flow."""
        return replace(
            self.point, feeder=self._feeder, load_kva=self.load, flow=self._flow, low=self.low,
            high=self.high, fleet=replace(self.point.fleet, high_kw=self.sun_kw),
        )  # fmt: skip

    def lift_source(self, factor: float) -> None:
        """The voltage behind the feeder head changes for good."""
        self._feeder = lifted(self._feeder, factor)

    def sight(self) -> Sight:
        """What has been measured, with noise, losses and delay."""
        point, at = self.point, max(0, len(self.truth) - 1 - self._links.reading_s)
        seen, noise, loss = self._seen, self._links.noise, self._links.loss
        true, quantity = self.truth[at][seen], point.quantity[seen]
        size = np.maximum(
            np.abs(true), np.where(quantity == Quantity.POWER, FLOOR * abs(self.load.sum()), 0.0)
        )
        currents = quantity == Quantity.CURRENT
        amps = self.truth[at][len(point.nodes) : len(point.nodes) + len(point.lines)]
        size[currents] = np.tile(amps, len(AROUND))
        value = true + noise * size * self._rng.standard_normal(len(true))
        value[self._rng.random(len(true)) < loss] = np.nan
        drift = np.where(quantity == Quantity.VOLTAGE, USUAL_PU, USUAL * size)
        moment = np.full(len(true), float(self.t_s - (len(self.truth) - 1 - at)))
        high = np.where(currents, INSIDE, 1.0) * self.high[seen]
        return Sight(
            self._names, quantity, value, moment, self.low[seen], high, noise * size, drift, self.ramp[seen],
            self._effects,
        )  # fmt: skip

    def able(self) -> Able:
        """What devices can do, the sun as it was heard of."""
        fleet = self.point.fleet
        sun = self._suns[max(0, len(self._suns) - 1 - self._links.reading_s)]
        size = np.maximum(np.maximum(fleet.high_kw, -fleet.low_kw), 0.1)
        return Able(
            fleet.low_kw, sun, REACTIVE * fleet.s_kva, np.where(fleet.s_kva > 0.0, fleet.s_kva, np.inf),
            self.all_answer, size * np.where(fleet.of("pv"), CURTAILING, 1.0),
        )  # fmt: skip

    def wanted(self) -> Powers:
        """Targets without feedback: panels give all there is."""
        fleet = self.point.fleet
        p_kw = np.where(fleet.of("pv"), self.able().p_hi_kw, fleet.wanted_kw)
        return Powers(p_kw, np.zeros(len(p_kw)))

    def standing(self) -> Standing:
        """What devices are known to do."""
        of, able = self._of, self.able()
        return Standing(np.clip(of.known_p, able.p_lo_kw, able.p_hi_kw), of.known_q, of.since_s.copy())

    def order(self, p_kw: Kw, q_kvar: Kvar) -> None:
        """Send what has changed, or was not answered; nothing where the target is NaN."""
        of, asked, q_kvar = self._of, np.isfinite(p_kw), np.nan_to_num(q_kvar)
        moved = (np.abs(p_kw - of.sent_p) > DEADBAND) | (np.abs(q_kvar - of.sent_q) > DEADBAND)
        waited = self.t_s - of.sent_s >= RESEND_S + self._links.order_s
        rows = np.flatnonzero(asked & (moved | ((of.since_s < of.sent_s) & waited))).astype(np.int32)
        of.sent_p[rows], of.sent_q[rows], of.sent_s[rows] = p_kw[rows], q_kvar[rows], self.t_s
        through = rows[self._rng.random(len(rows)) >= self._links.loss]
        self._orders.append((self.t_s + self._links.order_s, through, p_kw[through], q_kvar[through]))
