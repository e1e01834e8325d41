"""Nameplates become the same primitive admittance that OpenDSS builds, and obey the laws of coils."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.grid.build._windings import Winding, conductors, shorted_coils, transformer_block

KVA = st.floats(5.0, 50_000.0)
KV = st.floats(0.1, 140.0)
PERCENT = st.floats(0.01, 12.0)


@st.composite
def nameplates(draw):
    """Windings of 1, 2 or 3 legs, with the clock hours that OpenDSS's lead or lag stands for."""
    phases = draw(st.sampled_from((1, 2, 3)))
    count = draw(st.sampled_from((2, 2, 3, 4)))
    kinds = draw(st.lists(st.sampled_from(("wye", "delta")), min_size=count, max_size=count))
    kv = draw(st.lists(KV, min_size=count, max_size=count))
    lead = draw(st.booleans())
    onward = _onward(kinds, kv, lead=lead) if phases > 1 else True
    windings = [
        Winding(
            kind,
            volts * 1000.0,
            draw(PERCENT),
            draw(st.floats(0.85, 1.15)),
            (1 if onward else 11) if kind == "delta" and phases > 1 else 0,
            draw(st.none() | st.builds(complex, st.floats(0.1, 50.0), st.floats(0.0, 50.0)))
            if kind == "wye"
            else None,
        )
        for kind, volts in zip(kinds, kv, strict=True)
    ]
    # Reactances that coils can have: a star of positive branches.
    star = draw(st.lists(PERCENT, min_size=count, max_size=count))
    x = [star[i] + star[j] for i, j in combinations(range(count), 2)]
    return {
        "windings": windings,
        "x_pct": x,
        "kva": draw(KVA),
        "phases": phases,
        "core_pct": (draw(st.floats(0.0, 2.0)), draw(st.floats(0.0, 5.0))),
        "antifloat_ppm": draw(st.sampled_from((0.0, 1.0, 100.0))),
    }, lead


def _onward(kinds, kv, *, lead):
    """Which way OpenDSS winds a delta: always the same one unless its first two windings differ."""
    if kinds[0] == kinds[1]:
        return True
    high = kinds[0] if kv[0] >= kv[1] else kinds[1]
    return lead == (high == "delta")


@pytest.fixture(scope="module")
def dss(require):
    """OpenDSS with a circuit to put transformers in."""
    try:
        from dss import DSS
    except ImportError:
        require("OpenDSS (gridflock[opendss])", present=False)
    DSS.AllowForms = DSS.AllowEditor = DSS.AllowChangeDir = False
    return DSS


def _yprim(dss, plate, lead):
    """OpenDSS's matrix of the same nameplate; a delta's unused fourth conductor left out."""
    phases, windings = plate["phases"], plate["windings"]
    text = dss.Text
    text.Command = "clear"
    text.Command = "new circuit.c basekv=12.47"
    dots = "." + ".".join(str(n + 1) for n in range(phases + 1))
    text.Command = (
        f"new transformer.t phases={phases} windings={len(windings)} leadlag={'lead' if lead else 'lag'} "
        f"%noloadloss={plate['core_pct'][0]!r} %imag={plate['core_pct'][1]!r} "
        f"ppm_antifloat={plate['antifloat_ppm']!r}"
    )
    for n, w in enumerate(windings, start=1):
        text.Command = (
            f"~ wdg={n} bus=b{n}{dots} conn={w.connection} kv={w.rated_v / 1000!r} kva={plate['kva']!r} "
            f"%r={w.r_pct!r} tap={w.tap!r}"
        )
        if w.neutral_ohm is not None:
            text.Command = f"~ rneut={w.neutral_ohm.real!r} xneut={w.neutral_ohm.imag!r}"
    text.Command = f"~ xscarray=[{' '.join(map(repr, plate['x_pct']))}]"
    text.Command = "solve mode=direct"
    dss.ActiveCircuit.SetActiveElement("transformer.t")
    y = np.array(dss.ActiveCircuit.ActiveCktElement.Yprim).view(np.complex128)
    width = phases + 1
    y = y.reshape(len(windings) * width, -1)
    rows = [n * width + c for n, w in enumerate(windings) for c in range(conductors(w, phases))]
    return y[np.ix_(rows, rows)]


@settings(max_examples=150, deadline=None)
@given(nameplates())
def test_a_nameplate_gives_the_matrix_of_opendss(dss, drawn):
    """Any legs, windings, connections, taps, core and neutral: the same matrix to rounding."""
    plate, lead = drawn
    ours, theirs = transformer_block(**plate), _yprim(dss, plate, lead)
    scale = np.sqrt(np.outer(np.abs(np.diag(theirs)), np.abs(np.diag(theirs))))
    assert (np.abs(ours - theirs) <= 1e-9 * scale).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_short_circuit_test_on_the_block_gives_the_nameplate_back(data):
    """One coil fed, another shorted, the rest open: the impedance seen is the one that was written."""
    count = data.draw(st.sampled_from((2, 3, 4)))
    r = data.draw(st.lists(PERCENT, min_size=count, max_size=count))
    star = data.draw(st.lists(PERCENT, min_size=count, max_size=count))
    pairs = list(combinations(range(count), 2))
    y = shorted_coils(r, [star[i] + star[j] for i, j in pairs])
    assert np.abs(y.sum(axis=1)).max() <= 1e-9 * np.abs(y).max()
    for i, j in pairs:
        free = [n for n in range(count) if n != j]
        seen = np.linalg.inv(y[np.ix_(free, free)])[free.index(i), free.index(i)]
        assert seen == pytest.approx(complex(r[i] + r[j], star[i] + star[j]), rel=1e-8)


@pytest.mark.parametrize("high", ["wye", "delta"])
@pytest.mark.parametrize("hour", range(12))
def test_a_clock_hour_is_30_degrees_of_lag(high, hour):
    """Fed with positive sequence, the open low side lags by its clock, whatever the connection."""
    low = "wye" if (high == "wye") == (hour % 2 == 0) else "delta"
    block = transformer_block(
        [Winding(high, 11_000.0), Winding(low, 400.0, clock=hour)], [4.0], kva=100.0, antifloat_ppm=1.0
    )
    first = 4 if high == "wye" else 3
    turn = np.exp(-2j * np.pi / 3)
    fed = np.array([1.0, turn, turn**2]) * 11_000 / np.sqrt(3)
    known = np.concatenate([fed, np.zeros(first - 3)])
    rest = slice(first, len(block))
    answer = -np.linalg.solve(block[rest, rest], block[rest, :first] @ known)
    expected = 400 / np.sqrt(3) * np.exp(-1j * np.pi / 6 * hour)
    assert answer[0] == pytest.approx(expected, rel=1e-4)


def test_a_centre_tap_gives_two_legs_in_opposition():
    """Two windings that meet at the neutral: 120 V to either side, 240 V across."""
    y = transformer_block(
        [Winding("wye", 7200.0), Winding("wye", 120.0), Winding("wye", 120.0)],
        [2.04, 2.04, 1.36],
        kva=25.0,
        phases=1,
    )
    # Conductors: phase, ground | leg 1, ground | ground, leg 2.
    legs, fed = [2, 5], [0]
    v = -np.linalg.solve(y[np.ix_(legs, legs)], y[np.ix_(legs, fed)] @ [7200.0])
    assert v == pytest.approx([120.0, -120.0], rel=1e-9)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"phases": 4}, "phases"),
        ({"x_pct": [4.0, 4.0]}, "one for each pair"),
        ({"kva": 0.0}, "rating"),
        ({"core_at": 2}, "core"),
        ({"x_pct": [0.0]}, "short-circuit"),
        ({"windings": [Winding("wye", 1.0), Winding("delta", 1.0)]}, "0 hours"),
        ({"windings": [Winding("wye", 1.0, clock=1), Winding("wye", 1.0)]}, "1 hours"),
        ({"windings": [Winding("wye", 0.0), Winding("wye", 1.0)]}, "rated"),
        ({"windings": [Winding("delta", 1.0, neutral_ohm=1j), Winding("wye", 1.0, clock=1)]}, "neutral"),
    ],
)
def test_figures_no_transformer_has_are_refused(change, says):
    """What cannot be built is named instead of computed."""
    plate = {"windings": [Winding("wye", 1.0), Winding("wye", 1.0)], "x_pct": [4.0], "kva": 1.0, **change}
    with pytest.raises(ValueError, match=says):
        transformer_block(**plate)
