"""What holds for ports in lanes whose reactive power follows their own voltage."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.grid.lanes import Curves, Lanes, Shaped, Wanted
from gridflock.grid.lanes._law import currents, followed

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
CATEGORY_A = (0.90, 0.98, 0.98, 1.02, 1.02, 1.10), (0.25, 0.0, 0.0, 0.0, 0.0, -0.25)
CATEGORY_B = (0.92, 0.98, 1.02, 1.08, 1.08, 1.08), (0.44, 0.0, 0.0, -0.44, -0.44, -0.44)


def _with_curves(seed, **kind):
    """A network some of whose ports are inverters on one of two curves, and injections: loads and limits."""
    net, s_kva = networks.circuit(seed, **kind)
    rng = np.random.default_rng(seed)
    port = np.sort(rng.choice(len(s_kva), size=len(s_kva) // 2, replace=False)).astype(np.int32)
    v_pu, q = (np.array([CATEGORY_A[k], CATEGORY_B[k]]) for k in range(2))
    kva = rng.uniform(20.0, 90.0, len(port))
    curves = Curves(port, rng.integers(0, 2, len(port)).astype(np.int32), kva, v_pu, q)
    s_kva[port] = kva * (0.6 + 0.44j)
    return replace(net, curves=curves), s_kva


def _scenarios(net, s_kva, seed, count):
    """Loads around 60 %, inverters between dark and full sun; some have no reactive power to give."""
    rng = np.random.default_rng(seed)
    demand = s_kva * rng.uniform(0.2, 1.0, (count, len(s_kva)))
    port, kva = net.curves.port, net.curves.kva
    sun = rng.uniform(0.0, 1.0, (count, 1))
    most = np.minimum(0.44, np.sqrt(1.0 - sun**2)) * np.where(rng.random((count, 1)) < 0.2, 0.0, 1.0)
    demand[:, port] = kva * (sun + 1j * most)
    return demand


def _by_the_curves(net, s_kva, v):
    """Injections at given voltages, port by port."""
    c, s = net.curves, s_kva.copy()
    ends = np.append(v, 0.0)[net.port_nodes]
    r = np.abs(ends[:, 0] - ends[:, 1]) / net.port_v
    for k, port in enumerate(c.port):
        most = s_kva[port].imag
        wanted = c.kva[k] * np.interp(r[port], c.v_pu[c.of[k]], c.q[c.of[k]])
        s[port] = s_kva[port].real + 1j * min(max(wanted, -most), most)
    return s


def _flow(net, s_kva):
    """Flow with the curves followed, by repeated dense flows half way to the new powers."""
    plain, s = replace(net, curves=None), s_kva.real.astype(complex)
    for _ in range(200):
        v = networks.flow(plain, s)
        new = _by_the_curves(net, s_kva, v)
        if np.abs(new - s).max() < 1e-8:
            return v
        s = 0.5 * (s + new)
    raise ArithmeticError("the curves did not settle")


@given(seed=seeds)
@few
def test_powers_are_those_of_the_curve(seed):
    """Reactive powers are read off the corners, held within limits, and their slopes are derivatives."""
    net, s_kva = _with_curves(seed)
    r = np.random.default_rng(seed).uniform(0.85, 1.15, len(s_kva))
    q, bend = followed(net, s_kva.imag, r)
    v = np.zeros(len(net.v_base), dtype=complex)
    single = replace(net, port_nodes=np.stack([np.arange(len(r)), np.full(len(r), -1)], axis=1))
    v[: len(r)] = r * net.port_v
    np.testing.assert_allclose(q, _by_the_curves(single, s_kva, v).imag, atol=1e-12)
    ahead, behind = (followed(net, s_kva.imag, r + step)[0] for step in (1e-7, -1e-7))
    np.testing.assert_allclose(bend, (ahead - behind) / 2e-7, atol=1e-4)


@given(seed=seeds, angle=st.floats(-3.0, 3.0))
@few
def test_slopes_of_currents_have_the_curve_in_them(seed, angle):
    """The 2×2 blocks of ports on curves are what a small step of the voltage does to their currents."""
    net, s_kva = _with_curves(seed)
    u = net.port_v * np.random.default_rng(seed).uniform(0.9, 1.1, len(s_kva)) * np.exp(1j * angle)
    _, slopes = currents(net, s_kva, u)
    for k, direction in enumerate((1.0, 1j)):
        ahead, behind = (currents(net, s_kva, u + sign * 1e-3 * direction)[0] for sign in (1, -1))
        change = (ahead - behind) / 2e-3
        np.testing.assert_allclose(slopes[:, k], change.real, atol=1e-6)
        np.testing.assert_allclose(slopes[:, 2 + k], change.imag, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("only_power", [True, False])
@given(seed=seeds)
@few
def test_every_lane_is_on_its_curves(kind, only_power, seed):
    """Each lane is the flow at which every inverter injects what its curve says at its own voltage."""
    net, s_kva = _with_curves(seed, only_power=only_power)
    demand = _scenarios(net, s_kva, seed, 19)
    flows = Lanes(net, demand.mean(axis=0), **kind).solve(demand, Wanted(v_pu=True))
    assert flows.converged.all()
    for k in range(0, 19, 4):
        wanted = np.abs(_flow(net, demand[k])) / net.v_base
        assert np.abs(flows.v_pu[k] - wanted).max() < WITHIN_PU


@pytest.mark.parametrize("kind", KINDS)
def test_limits_may_come_as_shapes(kind):
    """Shaped demand gives ports on curves their limits as it gives others their reactive power."""
    net, s_kva = _with_curves(3)
    rng = np.random.default_rng(3)
    p_shape, q_shape = (rng.integers(0, 4, len(s_kva)).astype(np.int32) for _ in range(2))
    shaped = Shaped(s_kva, p_shape, q_shape, rng.uniform(0.2, 1.0, (4, 37)))
    lanes = Lanes(net, shaped.mean_kva(), **kind)
    short, long = (lanes.solve(demand, Wanted(v_pu=True)) for demand in (shaped, shaped.dense()))
    assert np.abs(short.v_pu - long.v_pu).max() < 1e-6
