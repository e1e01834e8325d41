"""Inverter curves against EPRI's OpenDER, the reference model of IEEE 1547-2018."""

import logging

import numpy as np
import pytest

from gridflock.grid.series._curves import Category, Curves, Priority, ReactiveMode, faults, respond

CASES = 60
S_KVA = 100.0
OPEN_W = 0.2
"""OpenDER finds where a curve meets the rating to 1e-3 W in size, along a flat angle less exactly."""
SWITCHES = {
    ReactiveMode.POWER_FACTOR: "CONST_PF_MODE_ENABLE",
    ReactiveMode.VOLT_VAR: "QV_MODE_ENABLE",
    ReactiveMode.WATT_VAR: "QP_MODE_ENABLE",
    ReactiveMode.CONSTANT: "CONST_Q_MODE_ENABLE",
}


@pytest.fixture(scope="module")
def opender(require):
    """The two device models of OpenDER, silent about settings outside the standard's ranges."""
    try:
        from opender import DER_BESS, DER_PV
    except ImportError:
        require("opender", present=False)
    logging.disable(logging.WARNING)
    yield {False: DER_PV, True: DER_BESS}
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("stores", [False, True])
@pytest.mark.parametrize("mode", list(ReactiveMode))
def test_random_settings_answer_as_opender_does(opender, mode, stores):
    """Random curves, ratings, powers and voltages: the settled powers are those of OpenDER."""
    rng = np.random.default_rng([7, int(mode), int(stores)])
    c = _random(rng, mode, stores)
    assert not faults(c)
    v = rng.uniform(0.88, 1.13, CASES)
    p = c.p_kw * rng.uniform(-1.0 if stores else 0.06, 1.0, CASES)
    ours = np.stack(respond(c, p, v))
    theirs = np.array([_settled(opender[stores], c, k, p[k], v[k]) for k in range(CASES)]).T
    raised = (np.abs(theirs[0]) > np.abs(p) + 1e-9) & (c.priority == Priority.ACTIVE)
    """Beyond the required range OpenDER gives active power what the rating leaves, even unasked."""
    np.testing.assert_allclose(ours[:, ~raised], theirs[:, ~raised], atol=OPEN_W / 1000.0)
    assert (~raised).sum() > CASES // 2


@pytest.mark.parametrize("category", list(Category))
@pytest.mark.parametrize("stores", [False, True])
def test_defaults_are_those_of_the_standard(opender, category, stores):
    """Default curves of both categories at 30 voltages and powers: as OpenDER's defaults."""
    v, p = (grid.ravel() for grid in np.meshgrid(np.linspace(0.89, 1.12, 6), [8.0, 40.0, 75.0, 90.0, 100.0]))
    for mode in (ReactiveMode.VOLT_VAR, ReactiveMode.WATT_VAR):
        c = Curves.defaults(np.full(len(v), S_KVA), category, mode, S_KVA if stores else 0.0)
        ours = np.stack(respond(c, p, v))
        theirs = np.array([_default(opender[stores], category, mode, *at) for at in zip(p, v, strict=True)]).T
        np.testing.assert_allclose(ours, theirs, atol=OPEN_W / 1000.0)


def _random(rng, mode, stores):
    c = Curves.defaults(np.full(CASES, S_KVA), Category.B, mode, 80.0 if stores else 0.0)
    span = np.sort(rng.uniform(0.9, 1.1, (CASES, 4)), axis=1) + np.arange(4) * 0.005
    one, high, low = np.ones(CASES), rng.uniform(0.2, 0.6, CASES), rng.uniform(0.2, 0.6, CASES)
    wv = np.stack([-one, -0.6 * one, -0.2 * one, 0.2 * one, rng.uniform(0.4, 0.7, CASES), one], axis=1)
    zero = np.zeros(CASES)
    return Curves(
        s_kva=c.s_kva,
        p_kw=c.s_kva * rng.choice([1.0, 0.9, 0.75], CASES),
        p_charge_kw=c.p_charge_kw * rng.choice([1.0, 0.8], CASES),
        q_inject_kvar=c.s_kva * rng.uniform(0.44, 0.7, CASES),
        q_absorb_kvar=c.s_kva * rng.uniform(0.44, 0.7, CASES),
        steady=c.steady,
        category=rng.integers(0, 2, CASES).astype(np.uint8),
        mode=c.mode,
        priority=rng.integers(0, 2, CASES).astype(np.uint8),
        power_factor=rng.uniform(0.75, 1.0, CASES),
        absorbing=rng.random(CASES) < 0.5,
        q_pu=rng.uniform(-0.6, 0.6, CASES),
        vv_v_pu=span,
        vv_q_pu=np.stack([high, zero + 0.1, zero - 0.05, -low], axis=1),
        wv_p_pu=wv,
        wv_q_pu=np.stack([high, zero + 0.1, zero, zero, zero - 0.1, -low], axis=1),
        volt_watt=rng.random(CASES) < 0.5,
        vw_v_pu=np.stack([rng.uniform(1.0, 1.05, CASES), rng.uniform(1.06, 1.1, CASES)], axis=1),
        vw_p_pu=np.stack([one, zero if stores else rng.uniform(0.1, 0.4, CASES)], axis=1),
    )


def _model(kind, category, s_kva):
    der = kind()
    f = der.der_file
    f.NP_VA_MAX = f.NP_P_MAX = s_kva * 1000.0
    f.NP_P_MAX_CHARGE = f.NP_APPARENT_POWER_CHARGE_MAX = s_kva * 1000.0
    f.NP_NORMAL_OP_CAT = category
    f.OV1_TRIP_V, f.OV2_TRIP_V, f.UV1_TRIP_V, f.UV2_TRIP_V = 1.4, 1.5, 0.3, 0.2
    f.NP_CURRENT_PU = 3.0
    return der


def _default(kind, category, mode, p_kw, v_pu):
    der = _model(kind, "CAT_A" if category is Category.A else "CAT_B", S_KVA)
    f = der.der_file
    f.NP_Q_MAX_INJ = 0.44e3 * S_KVA
    f.NP_Q_MAX_ABS = (0.25 if category is Category.A else 0.44) * 1e3 * S_KVA
    f.initialize_NP_Q_CAPABILTY_BY_P_CURVE()
    setattr(f, SWITCHES[mode], True)
    return _run(der, p_kw, v_pu)


def _settled(kind, c, k, p_kw, v_pu):
    der = _model(kind, "CAT_A" if c.category[k] == Category.A else "CAT_B", c.s_kva[k])
    f = der.der_file
    f.NP_P_MAX = c.p_kw[k] * 1000.0
    f.NP_P_MAX_CHARGE = c.p_charge_kw[k] * 1000.0
    f.NP_Q_MAX_INJ, f.NP_Q_MAX_ABS = c.q_inject_kvar[k] * 1000.0, c.q_absorb_kvar[k] * 1000.0
    f.initialize_NP_Q_CAPABILTY_BY_P_CURVE()
    f.NP_PRIO_OUTSIDE_MIN_Q_REQ = "ACTIVE" if c.priority[k] == Priority.ACTIVE else "REACTIVE"
    f.CONST_PF, f.CONST_Q = c.power_factor[k], c.q_pu[k]
    f.CONST_PF_EXCITATION = "ABS" if c.absorbing[k] else "INJ"
    for point in range(4):
        setattr(f, f"QV_CURVE_V{point + 1}", c.vv_v_pu[k, point])
        setattr(f, f"QV_CURVE_Q{point + 1}", c.vv_q_pu[k, point])
    names = ["P3_LOAD", "P2_LOAD", "P1_LOAD", "P1_GEN", "P2_GEN", "P3_GEN"]
    for point, name in enumerate(names):
        setattr(f, f"QP_CURVE_{name}", c.wv_p_pu[k, point])
        setattr(f, f"QP_CURVE_{name.replace('P', 'Q')}", c.wv_q_pu[k, point])
    f.PV_MODE_ENABLE = bool(c.volt_watt[k])
    f.PV_CURVE_V1, f.PV_CURVE_V2 = c.vw_v_pu[k]
    f.PV_CURVE_P1, f.PV_CURVE_P2 = c.vw_p_pu[k]
    if c.mode[k] != ReactiveMode.UNITY:
        setattr(f, SWITCHES[ReactiveMode(c.mode[k])], True)
    return _run(der, p_kw, v_pu)


def _run(der, p_kw, v_pu):
    named = (
        {"p_dc_kw": p_kw}
        if hasattr(der.der_input, "p_dc_w") and type(der).__name__ == "DER_PV"
        else {"p_dem_kw": p_kw}
    )
    der.update_der_input(v_pu=float(v_pu), f=60.0, **named)
    for _ in range(4):
        der.run()
    return der.p_limited_w / 1000.0, der.q_limited_var / 1000.0
