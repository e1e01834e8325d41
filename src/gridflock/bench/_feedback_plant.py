"""A feeder that feedback has to hold: exact AC flow every second, behind noisy, late and lossy links.

Devices of ``_network_world`` at one sunny moment. Orders take a while to be followed, readings and answers a
while to be heard, some of each get lost; the sensitivities that feedback is given are wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.bench._network_world import World
from gridflock.dispatch.feedback import Able, Effects, Powers, Quantity, Sight, Standing, effects
from gridflock.grid import Flow, linearise, solve
from gridflock.grid._network import Float
from gridflock.grid._topology import NEUTRAL
from gridflock.grid.limits._terminals import conductor_ratings
from gridflock.plan.network._derivatives import Derivatives
from gridflock.units import PHASES, Mask, Rows

SUN = 0.9
"""Of the panels' peak at the moment."""
BAND_PU = (0.95, 1.05)
MOST_LINES = 150
LOADED = 0.05
"""Conductors are watched from this part of their rating on, the most loaded first."""
REACTIVE = 0.44
"""Of the apparent rating: category B of IEEE 1547-2018, §5.2."""
RESEND_S = 4.0
DEADBAND_KW = 0.05
ANSWER_S = 1


@dataclass(frozen=True, slots=True)
class Links:
    """How bad the world is.

    Attributes:
        reading_s: delay of readings.
        order_s: time until an order is followed.
        loss: part of all messages that is lost.
        noise: standard deviation of a reading, part of its value.
        wrong: largest error of a sensitivity, part of it.
        bias: what every sensitivity is multiplied by besides.
    """

    reading_s: int = 2
    order_s: int = 2
    loss: float = 0.05
    noise: float = 0.01
    wrong: float = 0.3
    bias: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """Devices at the moment. n of them."""

    kind: tuple[str, ...]
    place: Rows
    low_kw: Float
    high_kw: Float
    wanted_kw: Float
    s_kva: Float

    def of(self, kind: str) -> Mask:
        """(n,) devices of a kind."""
        return np.array([one == kind for one in self.kind])


def fleet(world: World, seed: int) -> Fleet:
    """The devices at a sunny moment: half the vehicles charge, batteries are anywhere."""
    rng = np.random.default_rng([seed, 31])
    n = len(world.kind)
    pv, ev, battery = (world.of(kind) for kind in ("pv", "vehicle", "battery"))
    size = np.where(pv | battery, world.s_kva / 1.1, world.flexibility.down_kw.max(axis=1))
    sun = SUN * size * rng.uniform(0.9, 1.0, n)
    low = np.where(pv, 0.0, -size)
    high = np.where(pv, sun, np.where(ev, 0.0, size))
    charging = np.where(rng.random(n) < 0.5, -0.6 * size, 0.0)
    wanted = np.where(pv, sun, np.where(ev, charging, rng.uniform(-0.5, 0.5, n) * size))
    return Fleet(world.kind, world.place, low, high, wanted, world.s_kva)


class Plant:
    """The feeder and its devices; time goes on by ``second``."""

    def __init__(self, world: World, of: Fleet, links: Links, seed: int, step: int = 4) -> None:
        self.feeder, self.fleet, self.links = world.feeder, of, links
        self.rng = np.random.default_rng([seed, 32])
        self.load = world.feeder.load_kva[step].copy()
        self.n, self.t = len(of.place), 0
        self.high = of.high_kw.copy()
        self.p, self.q = of.wanted_kw.copy(), np.zeros(self.n)
        self.order_p, self.order_q = self.p.copy(), self.q.copy()
        self.known_p, self.known_q = self.p.copy(), self.q.copy()
        self.since, self.sent_s = np.full(self.n, -100.0), np.full(self.n, -100.0)
        self.sent_p, self.sent_q = self.p.copy(), self.q.copy()
        self._orders: list[tuple[int, Rows, Float, Float]] = []
        self._answers: list[tuple[int, Rows, Float, Float, float]] = []
        self.flow = self._solved()
        self._rows()
        self.history: list[Float] = []
        self.high_history: list[Float] = []

    def _solved(self, start: Flow | None = None) -> Flow:
        feeder, net = self.feeder, self.feeder.network
        port_p = np.bincount(self.fleet.place, self.p, minlength=feeder.ports)
        port_q = np.bincount(self.fleet.place, self.q, minlength=feeder.ports)
        powers = np.concatenate([self.load, feeder.spread @ (port_p + 1j * port_q)])
        return solve(net, powers, np.zeros(net.n, dtype=np.complex128), feeder.state, start)

    def _rows(self) -> None:
        net, flow = self.feeder.network, self.flow
        live = net.topology.live & (net.node_phase < NEUTRAL)
        self.nodes: Rows = np.flatnonzero(live & ~np.isin(np.arange(net.n), net.source_nodes)).astype(
            np.int32
        )
        rating = conductor_ratings(net)
        with np.errstate(invalid="ignore"):
            loading = np.where(np.isfinite(rating), np.abs(flow.currents) / rating, 0.0)
        order = np.argsort(-loading, kind="stable")[:MOST_LINES]
        self.lines: Rows = np.sort(order[loading[order] > LOADED]).astype(np.int32)
        self.head: Rows = np.flatnonzero(np.isin(net.branch_blocks.node, net.source_nodes)).astype(np.int32)
        volts, amps, many = len(self.nodes), len(self.lines), len(self.nodes) + len(self.lines) + 1
        self.quantity = np.repeat(
            np.array([Quantity.VOLTAGE, Quantity.CURRENT, Quantity.POWER], dtype=np.uint8), [volts, amps, 1]
        )
        self.low = np.concatenate([np.full(volts, BAND_PU[0]), np.full(amps + 1, -np.inf)])
        self.limit = np.concatenate([np.full(volts, BAND_PU[1]), rating[self.lines], [np.inf]])
        self.ramp = np.full(many, np.inf)
        buses, phase = net.buses, net.node_phase
        self.names = (
            *(f"voltage at bus {buses[net.node_bus[k]]} phase {PHASES[phase[k]]}" for k in self.nodes),
            *(f"current in conductor {k}" for k in self.lines),
            "power of the feeder head",
        )
        true = self._sensitivities()
        wrong = 1.0 + self.links.wrong * self.rng.uniform(-1.0, 1.0, true[0].shape)
        wrong_q = 1.0 + self.links.wrong * self.rng.uniform(-1.0, 1.0, true[0].shape)
        self.effects: Effects = effects(
            (self.links.bias * wrong * true[0]).astype(np.float32),
            (self.links.bias * wrong_q * true[1]).astype(np.float32),
            self.fleet.place,
            self.quantity,
        )

    def _sensitivities(self) -> tuple[Float, Float]:
        feeder, flow, net = self.feeder, self.flow, self.feeder.network
        ports = np.arange(feeder.ports, dtype=np.int32)
        volts, amps = Derivatives(feeder, flow.load_kva).rows(self.nodes, self.lines, ports, ports)
        at = flow.v[net.branch_blocks.node[self.lines]]
        turned = flow.currents[self.lines] * np.conj(at) / np.abs(at)
        along = turned / np.maximum(np.abs(turned), 1e-9)
        current = along.real[:, None] * amps[0] + along.imag[:, None] * amps[1]
        gradient = linearise(flow).power(self.head)[0]
        tail = slice(len(net.loads) - feeder.pairs, None)
        head = -np.stack(
            [feeder.spread.T @ gradient.port_kw[tail], feeder.spread.T @ gradient.port_kvar[tail]]
        )
        k = feeder.ports
        # Reactive power takes less and less off a current the less of it is left: half, on the way to none.
        current[:, k:] *= 0.5
        return (
            np.vstack([volts[:, :k], current[:, :k], head[:1]]),
            np.vstack([volts[:, k:], current[:, k:], head[1:]]),
        )

    def values(self) -> Float:
        """(m,) true quantities now."""
        flow = self.flow
        return np.concatenate(
            [flow.v_pu[self.nodes], np.abs(flow.currents[self.lines]), [flow.head_kva.sum().real]]
        )

    def second(self) -> None:
        """Orders whose time it is are followed, answers sent; then the flow of this second."""
        due = [order for order in self._orders if order[0] <= self.t]
        self._orders = [order for order in self._orders if order[0] > self.t]
        for _, rows, p, q in due:
            self.order_p[rows], self.order_q[rows] = p, q
            answered = self.rng.random(len(rows)) >= self.links.loss
            self._answers.append((self.t + ANSWER_S, rows[answered], p[answered], q[answered], float(self.t)))
        self.p = np.clip(self.order_p, self.fleet.low_kw, self.high)
        self.q = self.order_q.copy()
        self.flow = self._solved(self.flow)
        assert self.flow.converged
        self.history.append(self.values())
        self.high_history.append(self.high.copy())

    def hear(self) -> None:
        """Answers that have come."""
        for _, rows, p, q, since in [one for one in self._answers if one[0] <= self.t]:
            self.known_p[rows], self.known_q[rows], self.since[rows] = p, q, since
        self._answers = [one for one in self._answers if one[0] > self.t]

    def sight(self) -> Sight:
        """What has been measured, with noise, losses and delay."""
        at = max(0, len(self.history) - 1 - self.links.reading_s)
        true = self.history[at]
        floor = np.where(self.quantity == Quantity.POWER, 0.2 * np.abs(self.load.sum()), 0.0)
        noise = self.links.noise * np.maximum(np.abs(true), floor)
        value = true + noise * self.rng.standard_normal(len(true))
        value[self.rng.random(len(true)) < self.links.loss] = np.nan
        usual = np.array([2e-4, 0.0, 0.0])[self.quantity]
        drift = np.where(self.quantity == Quantity.VOLTAGE, usual, 0.002 * np.maximum(np.abs(true), floor))
        moment = float(self.t - (len(self.history) - 1 - at))
        return Sight(
            self.names, self.quantity, value, np.full(len(true), moment), self.low, self.limit, noise, drift,
            self.ramp, self.effects,
        )  # fmt: skip

    def able(self) -> Able:
        """What devices can do, the sun as it was heard of."""
        high = self.high_history[max(0, len(self.high_history) - 1 - self.links.reading_s)]
        inverter = self.fleet.s_kva > 0.0
        size = np.maximum(np.maximum(self.fleet.high_kw, -self.fleet.low_kw), 0.1)
        dear = np.where(self.fleet.of("pv"), 0.3, 1.0)
        return Able(
            self.fleet.low_kw, high, REACTIVE * self.fleet.s_kva,
            np.where(inverter, self.fleet.s_kva, np.inf), np.ones(self.n, dtype=np.bool_), size * dear,
        )  # fmt: skip

    def wanted(self) -> Powers:
        """Targets without feedback."""
        sun = self.fleet.of("pv")
        return Powers(np.where(sun, self.able().p_hi_kw, self.fleet.wanted_kw), np.zeros(self.n))

    def standing(self) -> Standing:
        """What devices are known to do."""
        return Standing(
            np.clip(self.known_p, self.fleet.low_kw, self.able().p_hi_kw), self.known_q, self.since
        )

    def order(self, p: Float, q: Float) -> None:
        """Send what has changed, or was not answered."""
        q = np.nan_to_num(q)
        moved = (np.abs(p - self.sent_p) > DEADBAND_KW) | (np.abs(q - self.sent_q) > DEADBAND_KW)
        lost = (self.since < self.sent_s) & (self.t - self.sent_s >= RESEND_S + self.links.order_s)
        rows = np.flatnonzero(moved | lost).astype(np.int32)
        self.sent_p[rows], self.sent_q[rows], self.sent_s[rows] = p[rows], q[rows], self.t
        through = rows[self.rng.random(len(rows)) >= self.links.loss]
        self._orders.append((self.t + self.links.order_s, through, p[through], q[through]))
