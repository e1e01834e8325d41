"""What holds for inverters in lanes: their powers follow the voltage they see, within every solution."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.grid.lanes import Lanes, Shaped, Wanted
from gridflock.grid.lanes._inverter_law import AROUND_PU, followed
from gridflock.grid.lanes._law import currents
from gridflock.grid.series import Category, Curves, ReactiveMode, respond
from gridflock.grid.series._table import table

sys.path.insert(0, str(Path(__file__).parent))
networks = importlib.import_module("lanes_networks")
seeds = st.integers(0, 10_000)
few = settings(max_examples=12, deadline=None)
WITHIN_PU = 2e-5
KINDS = [
    pytest.param({}, id="float32"),
    pytest.param({"dtype": "float64"}, id="float64"),
    pytest.param({"plain": True}, id="plain"),
]


def curves_of(rng, count, modes):
    """Inverters of several modes and priorities; volt-watt where many are."""
    s_kva = rng.uniform(20.0, 90.0, count)
    c = Curves.defaults(s_kva, Category(int(rng.integers(0, 2))), p_charge_kw=0.5 * s_kva)
    return replace(
        c,
        mode=rng.choice(np.array(modes), count).astype(np.uint8),
        priority=rng.integers(0, 2, count).astype(np.uint8),
        power_factor=rng.uniform(0.85, 1.0, count),
        q_pu=rng.uniform(-0.4, 0.4, count),
        steady=rng.random(count) < 0.5,
        volt_watt=rng.random(count) < 0.3,
        vw_v_pu=np.tile([1.0, 1.05], (count, 1)),
    )


def with_inverters(seed, modes=tuple(ReactiveMode), **kind):
    """A network at some of whose ports inverters stand, up to three together, and nominal injections."""
    net, s_kva = networks.circuit(seed, **kind)
    rng = np.random.default_rng(seed)
    port = rng.permutation(len(s_kva))[: 2 * len(s_kva) // 3].astype(np.int32)
    cuts, start = rng.integers(1, 4, len(port)), [0]
    for size in cuts:
        if start[-1] < len(port):
            start.append(min(start[-1] + int(size), len(port)))
    start = np.array(start, dtype=np.int32)
    curves = curves_of(rng, len(start) - 1, modes)
    counts = np.diff(start)
    s_kva[port] = np.repeat(curves.s_kva / counts, counts)
    return replace(net, inverters=table(curves, start, port)), curves, s_kva


def scenarios(net, s_kva, seed, count):
    """Loads around 60 %, inverters from charging at half their rating to full sun, alike within one."""
    rng = np.random.default_rng(seed)
    demand = s_kva * rng.uniform(0.2, 1.0, (count, len(s_kva)))
    own = net.inverters
    each = rng.uniform(-0.5, 1.0, (count, len(own.kva)))
    demand[:, own.port] = s_kva[own.port] * each[:, own.owner]
    return demand


def by_the_curves(net, curves, s_kva, v):
    """Injections at given voltages, the inverters' straight from their curves."""
    own, s = net.inverters, s_kva.copy()
    ends = np.append(v, 0.0)[net.port_nodes]
    r = np.abs(ends[:, 0] - ends[:, 1]) / net.port_v
    for d in range(curves.n):
        port = own.port[own.start[d] : own.start[d + 1]]
        p, q = respond(curves.rows(np.array([d])), s_kva[port].real.sum(), r[port].mean())
        s[port] = (p[0] + 1j * q[0]) / len(port)
    return s


def flow(net, curves, s_kva):
    """Flow with the inverters on their curves, by repeated dense flows half way to the new powers."""
    plain, s = replace(net, inverters=None), s_kva.real.astype(complex)
    for _ in range(200):
        v = networks.flow(plain, s)
        new = by_the_curves(net, curves, s_kva, v)
        if np.abs(new - s).max() < 1e-8:
            return v
        s = 0.5 * (s + new)
    raise ArithmeticError("the curves did not settle")


@given(seed=seeds)
@few
def test_powers_and_slopes_are_those_of_the_curves(seed):
    """Every port injects its share of what the curves say at the mean voltage; slopes are chords."""
    net, curves, s_kva = with_inverters(seed)
    r = np.random.default_rng(seed).uniform(0.85, 1.15, len(s_kva))
    held, bend = followed(net.inverters, s_kva, r)
    v = np.zeros(max(len(net.v_base), len(r)), dtype=complex)
    single = replace(net, port_nodes=np.stack([np.arange(len(r)), np.full(len(r), -1)], axis=1))
    v[: len(r)] = r * net.port_v
    np.testing.assert_allclose(held, by_the_curves(single, curves, s_kva, v), atol=1e-9)
    ahead, behind = (followed(net.inverters, s_kva, r + step)[0] for step in (AROUND_PU, -AROUND_PU))
    np.testing.assert_allclose(bend, (ahead - behind) / (2 * AROUND_PU), atol=1e-6)


@given(seed=seeds, angle=st.floats(-3.0, 3.0))
@few
def test_slopes_of_currents_have_the_curves_in_them(seed, angle):
    """The 2×2 blocks are those of the powers held, and of what the curves' slopes add along the voltage."""
    net, _, s_kva = with_inverters(seed)
    r = np.random.default_rng(seed).uniform(0.9, 1.1, len(s_kva))
    along = np.exp(1j * angle)
    held, bend = followed(net.inverters, s_kva, r)
    plain = replace(net, inverters=None)
    wanted, slopes = currents(net, s_kva, net.port_v * r * along)
    same, held_slopes = currents(plain, held, net.port_v * r * along)
    np.testing.assert_allclose(wanted, same, atol=1e-12)
    added, _ = currents(plain, bend, net.port_v * r * along)
    more = slopes - held_slopes
    np.testing.assert_allclose(
        (more[:, 0] * along.real + more[:, 1] * along.imag) * net.port_v, added.real, atol=1e-9
    )
    np.testing.assert_allclose(
        (more[:, 2] * along.real + more[:, 3] * along.imag) * net.port_v, added.imag, atol=1e-9
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("only_power", [True, False])
@given(seed=seeds)
@few
def test_every_lane_is_on_its_curves(kind, only_power, seed):
    """Each lane is the flow at which every inverter injects what its curves say at the voltage it sees."""
    net, curves, s_kva = with_inverters(seed, only_power=only_power)
    demand = scenarios(net, s_kva, seed, 19)
    flows = Lanes(net, demand.mean(axis=0), **kind).solve(demand, Wanted(v_pu=True))
    assert flows.converged.all()
    for k in range(0, 19, 4):
        wanted = np.abs(flow(net, curves, demand[k])) / net.v_base
        assert np.abs(flows.v_pu[k] - wanted).max() < WITHIN_PU


@pytest.mark.parametrize("kind", KINDS)
def test_available_power_may_come_as_shapes(kind):
    """Shaped demand says what is available to inverters as written-out demand does."""
    net, _, s_kva = with_inverters(3)
    rng = np.random.default_rng(3)
    p_shape, q_shape = (rng.integers(0, 4, len(s_kva)).astype(np.int32) for _ in range(2))
    shaped = Shaped(s_kva, p_shape, q_shape, rng.uniform(0.2, 1.0, (4, 37)))
    lanes = Lanes(net, shaped.mean_kva(), **kind)
    short, long = (lanes.solve(demand, Wanted(v_pu=True)) for demand in (shaped, shaped.dense()))
    assert np.abs(short.v_pu - long.v_pu).max() < 1e-6
