"""What must hold for every CIM file: order and spelling do not matter, nothing is dropped in silence."""

import importlib
import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.grid import initial, solve
from gridflock.grid._network import PortKind
from gridflock.grid.build import FeederRejected, Parts, assemble

sys.path.insert(0, str(Path(__file__).parent))
document = importlib.import_module("cim_document")
FEEDER, written = document.feeder(), document.written
SWITCHED = FEEDER + [
    ("SwitchPhase", f"pole{c}", {
        "SwitchPhase.Switch": "->breaker", "SwitchPhase.closed": "true",
        "SwitchPhase.phaseSide1": f"#SinglePhaseKind.{c}", "SwitchPhase.phaseSide2": f"#SinglePhaseKind.{c}",
    })
    for c in "ABC"
]  # fmt: skip


@pytest.fixture(scope="module")
def cim(require):
    """The reader, where lxml is installed."""
    require("lxml (gridflock[cim])", importlib.util.find_spec("lxml"))
    from gridflock.field import cim

    return cim


@pytest.fixture(scope="module")
def read(cim, tmp_path_factory):
    """Read a list of things, or a text."""
    path = tmp_path_factory.mktemp("cim") / "feeder.xml"

    def read(things, **limits):
        path.write_text(things if isinstance(things, str) else written(things), "utf-8")
        return cim.read_cim(path, cim.Limits(**limits))

    return read


@pytest.fixture(scope="module")
def dss(require):
    """OpenDSS with an empty circuit."""
    try:
        from dss import DSS
    except ImportError:
        require("OpenDSS (gridflock[opendss])", present=False)
    DSS.AllowForms = DSS.AllowEditor = DSS.AllowChangeDir = False
    return DSS


def _changed(thing, **properties):
    """The feeder with some properties of one thing set, or taken away by None; dots are written ``__``."""
    named = {k.replace("__", "."): v for k, v in properties.items()}
    return [
        (kind, name, {k: v for k, v in {**old, **named}.items() if v is not None} if name == thing else old)
        for kind, name, old in FEEDER
    ]


def _rejected(read, things, **limits):
    with pytest.raises(FeederRejected) as error:
        read(things, **limits)
    return error.value.rejected


def _volts(parts):
    network = assemble(parts)
    flow = solve(network, network.load_kva, np.zeros(network.n, dtype=complex), initial(network))
    assert flow.converged
    buses = [network.buses[b] for b in network.node_bus]
    return dict(zip(zip(buses, network.node_conductor.tolist(), strict=True), flow.v.tolist(), strict=True))


# ---- one feeder with one of everything -----------------------------------------------------------


def test_the_small_feeder_is_read_whole(read):
    """Every element has become a part, at sensible voltages; what is left aside is told."""
    parts = read(FEEDER)
    counts = {
        n: len(getattr(parts, n))
        for n in ("buses", "branches", "shunts", "ports", "regulators", "capacitors")
    }
    assert counts == {"buses": 7, "branches": 8, "shunts": 1, "ports": 9, "regulators": 3, "capacitors": 1}
    assert parts.notes == ["1 Analog left aside"]
    network = assemble(parts)
    flow = solve(network, network.load_kva, np.zeros(network.n, dtype=complex), initial(network))
    assert flow.converged
    assert ((flow.v_pu > 0.9) & (flow.v_pu < 1.1)).all()


@settings(max_examples=15, deadline=None)
@given(st.permutations(FEEDER), st.sampled_from(("urn:uuid:", "#_", "#", "_")), st.integers(1, 60))
def test_order_and_spelling_of_identifiers_do_not_matter(read, things, prefix, cut):
    """Shuffled, decorated otherwise, and with one thing described in two halves: the same voltages."""
    kind, name, properties = things[cut]
    items = list(properties.items())
    halves = [(kind, name, dict(items[:1])), ("Description", name, dict(items[1:]))]
    expected, found = (
        _volts(read(FEEDER)),
        _volts(read(written([*things[:cut], *halves, *things[cut + 1 :]], prefix))),
    )
    assert found.keys() == expected.keys()
    assert max(abs(found[k] - expected[k]) / abs(expected[k]) for k in expected) < 1e-9


NAMES = [name for _, name, _ in SWITCHED]
ODD = (
    *(
        None,
        "",
        "nan",
        "1e999",
        "-1",
        "0",
        "abc",
        "->nowhere",
        "7.5",
        "1e15",
        "1e-300",
        "1e-20",
        "false",
        "2",
    ),
    *("#Kind.Odd", "#SinglePhaseKind.N", "#SinglePhaseKind.B", "#SinglePhaseKind.s1", "#PhaseCode.ABC"),
    *("#WindingConnection.D", "#WindingConnection.I", "#OrderedPhaseCodeKind.s12N", "99999999999999"),
)


@st.composite
def _spoilt(draw):
    """The feeder with up to four things or properties lost, doubled, confused or replaced."""
    things = [(kind, name, dict(properties)) for kind, name, properties in SWITCHED]
    for _ in range(draw(st.integers(1, 4))):
        k = draw(st.integers(0, len(things) - 1))
        kind, name, properties = things[k]
        what = draw(
            st.sampled_from(("value", "value", "reference", "reference", "swap", "lose", "double", "class"))
        )
        if what == "lose":
            things.pop(k)
        elif what == "double":
            things.append((kind, f"{name}too", dict(properties)))
        elif what == "class":
            things[k] = (draw(st.sampled_from([kind for kind, _, _ in SWITCHED])), name, properties)
        elif properties:
            _spoil(draw, what, properties)
    return things


def _spoil(draw, what, properties):
    """One property referring elsewhere, exchanged with another, or of another value."""
    prop, other = (draw(st.sampled_from(sorted(properties))) for _ in range(2))
    if what == "reference":
        properties[prop] = f"->{draw(st.sampled_from(NAMES))}"
    elif what == "swap":
        properties[prop], properties[other] = properties[other], properties[prop]
    elif (value := draw(st.sampled_from(ODD))) is None:
        del properties[prop]
    else:
        properties[prop] = value


@settings(max_examples=300, deadline=None)
@given(_spoilt())
def test_a_spoilt_file_is_read_or_refused_and_nothing_else(read, things):
    """Lost, dangling, doubled, confused, negative, no number: a network that is solved, or named faults."""
    rejected = ()
    try:
        network = assemble(read(things))
    except FeederRejected as error:
        rejected = error.rejected
    else:
        solve(network, network.load_kva, np.zeros(network.n, dtype=complex), initial(network))
    assert all(r.component and r.ids and r.reason for r in rejected)


def _with_phases(*sides, **further):
    """The feeder whose breaker has phases (side 1, side 2); no second side where it is None."""
    phases = []
    for n, (one, two) in enumerate(sides):
        properties = {"SwitchPhase.Switch": "->breaker", **further}
        for number, letter in ((1, one), (2, two)):
            if letter is not None:
                properties[f"SwitchPhase.phaseSide{number}"] = f"#SinglePhaseKind.{letter}"
        phases.append(("SwitchPhase", f"pole{n}", properties))
    return [*FEEDER, *phases]


@pytest.mark.parametrize(
    ("sides", "says"),
    [
        ([(None, "A"), (None, "B"), (None, "C")], "missing"),
        ([("N", "N")], "none of its phases"),
        ([("N", "A"), ("A", "N")], "none of its phases"),
        ([("A", "A"), ("A", "B"), ("C", "C")], "meet at one conductor"),
        ([("A", "B"), ("B", "B"), ("C", "C")], "meet at one conductor"),
        ([("A", "A"), ("A", "A")], "meet at one conductor"),
        ([("Q", "A")], "cannot be represented"),
    ],
)
def test_a_switch_with_phases_that_cannot_be_is_refused(read, sides, says):
    """No side, no phase but the neutral, two phases on one conductor: named, with the switch or its phase."""
    faults = _rejected(read, _with_phases(*sides))
    assert {r.component for r in faults} <= {"SwitchPhase", "Breaker"}
    assert any(says in r.reason and "feeder.xml:" in r.reason for r in faults)


def test_the_second_side_of_a_switch_follows_the_first(read):
    """Without a second side a pole goes straight through: as with both sides, and as without phases."""
    expected = _volts(read(FEEDER))
    for sides in ([(c, c) for c in "ABC"], [(c, None) for c in "CAB"]):
        found = _volts(read(_with_phases(*sides, **{"SwitchPhase.closed": "true"})))
        assert max(abs(found[k] - v) / abs(v) for k, v in expected.items()) < 1e-9


def test_a_switch_may_turn_the_phases(read):
    """Sides of different letters connect those conductors: behind it the phases have changed places."""
    turned = read(_with_phases(("A", "B"), ("B", "C"), ("C", "A")))
    ends = next(b for b in turned.branches if b.id == "Breaker.breaker").ends
    assert [end.conductors for end in ends] == [(1, 2, 3), (2, 3, 1)]


def test_a_consumer_is_negative_and_a_photovoltaic_unit_positive(read):
    """House sign whichever sign the file gives its inverters, which its own units tell."""
    for sign in (1, -1):
        things = [
            (
                kind,
                name,
                {k: sign * v if k.endswith(".p") and "Electronics" in k else v for k, v in p.items()},
            )
            for kind, name, p in FEEDER
        ]
        ports = read(things).ports
        assert all(p.kva.real < 0 for p in ports if p.kind is PortKind.LOAD)
        assert [p.kva for p in ports if p.kind is PortKind.PV] == [2.5, 2.5]
    assert sum(p.kva for p in ports if p.kind is PortKind.LOAD) == pytest.approx(-424 - 151j)


def test_phases_are_ports_where_the_standard_puts_them(read):
    """A delta phase spans to the next one, a leg goes to the middle; rated at what is across."""
    ports = {p.id: p for p in read(FEEDER).ports}
    motor, home = ports["EnergyConsumer.motor.C"], ports["EnergyConsumer.homeload.s2"]
    assert (motor.conductors, motor.exponent) == ((3, 1), (0.8, 2.0))
    assert motor.rated_v == pytest.approx(12470)
    assert (home.conductors, home.rated_v, home.zip_p) == ((2, 0), 120.0, (0.4, 0.3, 0.3))


def test_controls_keep_their_settings(read):
    """A regulator sees its own phase behind it, a bank the flow at the terminal it is given."""
    parts = read(FEEDER)
    control = parts.regulators[0]
    assert (control.tap, control.pt_ratio, control.ct_a, control.r_v, control.x_v) == (4, 60, 300, 3, 5)
    assert (control.end, control.current, control.seen[1:], control.delay_s) == (1, 2, (1, 0), 30)
    bank = parts.capacitors[0]
    assert (bank.branch, bank.branch_end, bank.conductors) == ("ACLineSegment.lineA", 0, (0,))
    assert (bank.on_at, bank.off_at, bank.delay_s, bank.on) == (100, 0, 60, True)


# ---- matrices ------------------------------------------------------------------------------------


def _yprim(dss, *commands):
    for command in ("clear", "new circuit.c", *commands, "solve mode=direct"):
        dss.Text.Command = command
    y = np.array(dss.ActiveCircuit.ActiveCktElement.Yprim).view(np.complex128)
    return y.reshape(math.isqrt(len(y)), -1)


@settings(max_examples=40, deadline=None)
@given(*[st.floats(0.01, 3.0)] * 4, *[st.floats(1.0, 300.0)] * 2)
def test_sequence_values_give_opendss_lines(dss, r1, x1, r0, x0, c1, c0):
    """Self and mutual values from sequence ones, charging included: OpenDSS's matrix to rounding."""
    from gridflock.field.cim._lines import phase_matrix, pi_block

    dss.Text.Command = "clear"
    y = _yprim(dss, f"new line.l bus1=a bus2=b r1={r1!r} x1={x1!r} r0={r0!r} x0={x0!r} c1={c1!r} c0={c0!r}",
               "select line.l")  # fmt: skip
    omega = 2 * math.pi * 60e-9
    ours = pi_block(
        np.linalg.inv(phase_matrix(complex(r1, x1), complex(r0, x0), 3)),
        phase_matrix(1j * omega * c1, 1j * omega * c0, 3),
    )
    assert np.abs(ours - y).max() <= 1e-9 * np.abs(y).max()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.05, 1.5), st.floats(0.002, 0.012), st.floats(6, 14)), min_size=3, max_size=5
    )
)
def test_wires_give_opendss_geometries(dss, wires):
    """Carson's equations and potential coefficients, neutrals folded: OpenDSS with the same earth model."""
    from gridflock.field.cim._wires import carson, fold, potentials

    commands = ["set earthmodel=carson"]
    spots = np.array([(1.3 * n, h) for n, (_, _, h) in enumerate(wires)])
    for n, (r, radius, _) in enumerate(wires):
        commands += [
            f"new wiredata.w{n} rac={r!r} runits=km radius={radius!r} radunits=m",
            f"~ gmrac={0.78 * radius!r} gmrunits=m",
        ]
    commands.append(f"new linegeometry.g nconds={len(wires)} nphases=3 reduce=yes")
    commands += [
        f"~ cond={n + 1} wire=w{n} x={x!r} h={h!r} units=m" for n, (x, h) in enumerate(spots.tolist())
    ]
    commands += ["new line.l bus1=a bus2=b geometry=g length=1 units=km", "select line.l"]
    y = _yprim(dss, *commands)
    r, radius = (np.array([w[k] for w in wires]) for k in (0, 1))
    z = fold(carson(r / 1000.0, 0.78 * radius, spots, 60.0), 3) * 1000.0
    b = 2j * math.pi * 60.0 * 1000.0 * np.linalg.inv(fold(potentials(radius, spots), 3))
    assert np.abs(np.linalg.inv(z) + y[:3, 3:]).max() <= 1e-5 * np.abs(y).max()
    assert np.abs(b - 2.0 * (y[:3, :3] + y[:3, 3:])).max() <= 1e-3 * np.abs(b).max()


@pytest.mark.parametrize(("kind", "grounded"), [("Y", "true"), ("Y", "false"), ("D", "false")])
def test_capacitors_are_opendss_ones(read, dss, kind, grounded):
    """Grounded star, star with a free centre, delta: the admittance between phases is OpenDSS's."""
    things = _changed(
        "bank",
        ShuntCompensator__phaseConnection=f"#PhaseShuntConnectionKind.{kind}",
        ShuntCompensator__grounded=grounded,
    )
    y = read(things).shunts[0].y
    kvar = 0.002 * 12470**2 / 1000
    conn = {"Y": "wye", "D": "delta"}[kind]
    neutral = " bus2=b.4.4.4" if kind == "Y" and grounded == "false" else ""
    theirs = _yprim(
        dss,
        f"new capacitor.c bus1=b phases=3 kvar={kvar!r} kv=12.47 conn={conn}{neutral}",
        "select capacitor.c",
    )
    if neutral:
        # Three legs to a common free node: eliminate it.
        tie = np.zeros((6, 4))
        tie[range(3), range(3)] = 1
        tie[3:, 3] = 1
        full = tie.T @ theirs @ tie
        theirs = full[:3, :3] - np.outer(full[:3, 3], full[3, :3]) / full[3, 3]
    assert y[:3, :3] == pytest.approx(theirs[:3, :3], rel=1e-6, abs=1e-12)


# ---- refused by name -----------------------------------------------------------------------------

TABLE, TANK, LINE = "PhaseImpedanceData", "TransformerTank", "ACLineSegment"
LAW = "LoadResponseCharacteristic"
SPOILT = [
    ("lineA", {"Conductor__length": 0}, LINE, "not above"),
    ("lineA", {f"{LINE}__PerLengthImpedance": None}, LINE, "neither impedances nor wires"),
    ("lineA", {f"{LINE}__PerLengthImpedance": "->gone"}, LINE, "not in the file"),
    ("lineAB", {f"{LINE}Phase__phase": "#SinglePhaseKind.A"}, LINE, "contradictory phases"),
    ("lineAB", {f"{LINE}Phase__{LINE}": None}, LINE, "2 phases, but table has 3"),
    ("lineB", {f"{LINE}__{q}": 0 for q in ("r", "x", "r0", "x0")}, LINE, "zero impedance"),
    ("z31", {f"{TABLE}__row": 4}, TABLE, "row 4"),
    ("z31", {f"{TABLE}__PhaseImpedance": None}, "PerLengthPhaseImpedance", "not every pair"),
    ("tlineB2", {"Terminal__ConnectivityNode": "->nmid"}, LINE, "same bus"),
    ("tlineB2", {"Terminal__ConnectivityNode": None}, LINE, "connected terminals"),
    ("subend2", {"PowerTransformerEnd__connectionKind": "#WindingConnection.Z"}, "PowerTransformerEnd", "Z"),
    ("subend2", {"PowerTransformerEnd__phaseAngleClock": 2}, "PowerTransformer", "hours"),
    ("submesh", {f"TransformerMeshImpedance__{q}": 0 for q in "rx"}, "PowerTransformer", "short-circuit"),
    (
        "submesh",
        {"TransformerMeshImpedance__ToTransformerEnd": "->subend1"},
        "TransformerMeshImpedance",
        "no other end",
    ),
    ("poletest23", {"ShortCircuitTest__EnergisedEnd": None}, TANK, "usable test"),
    (
        "poletest23",
        {"ShortCircuitTest__GroundedEnds": "->poleinfo2"},
        "ShortCircuitTest",
        "one other shorted",
    ),
    ("poletest23", {"TransformerTest__basePower": "1e-300"}, "ShortCircuitTest", "no number that can be"),
    (
        "zip",
        {f"{LAW}__exponentModel": "true", f"{LAW}__pVoltageExponent": "1e9", f"{LAW}__qVoltageExponent": 2},
        LAW,
        "beyond 100",
    ),
    ("poletest23", {"ShortCircuitTest__loss": -1}, "ShortCircuitTest", "negative"),
    ("poleend2", {f"{TANK}End__orderedPhases": "#OrderedPhaseCodeKind.ABs1"}, f"{TANK}End", "ABs1"),
    ("tapA", {"TapChanger__step": 99}, "regulator", "not in -16..16"),
    ("tapA", {"TapChanger__neutralU": 2400}, "RatioTapChanger", "winding of 7200"),
    ("tapctlA", {"RegulatingControl__mode": "#Kind.activePower"}, "TapChangerControl", "activePower"),
    ("bankctl", {"RegulatingControl__mode": "#Kind.timeScheduled"}, "RegulatingControl", "timeScheduled"),
    ("bankctl", {"RegulatingControl__Terminal": "->tspot1"}, "RegulatingControl", "no line"),
    ("spot", {"EnergyConsumer__phaseConnection": "#PhaseShuntConnectionKind.G"}, "EnergyConsumer", "G"),
    ("spot", {"EnergyConsumer__grounded": "false"}, "EnergyConsumer", "without ground"),
    ("spot", {"EnergyConsumer__p": "much"}, "EnergyConsumer", "expected a number"),
    ("motorA", {"EnergyConsumerPhase__p": 1}, "EnergyConsumer", "add up"),
    ("zip", {f"{LAW}__pConstant{k}": 0 for k in ("Power", "Current", "Impedance")}, LAW, "shares"),
    ("bv12470", {"BaseVoltage__nominalVoltage": 12.47}, "BaseVoltage", "not kilovolts"),
    ("lineB", {"ConductingEquipment__BaseVoltage": "->bv208"}, LINE, "contradicts"),
    ("source", {"EnergySource__voltageMagnitude": -1}, "EnergySource", "not above"),
]
"""A thing, what is written there instead, and the class and reason of the fault."""

TERMINAL = (
    "Terminal",
    "todd",
    {"Terminal.ConductingEquipment": "->odd", "Terminal.ConnectivityNode": "->nmid"},
)


@settings(max_examples=20, deadline=None)
@given(st.from_regex(r"[A-Z][A-Za-z]{3,20}", fullmatch=True))
def test_equipment_of_an_unknown_class_is_refused(read, kind):
    """Whatever conducts and is not known is refused with its name, identifier and line."""
    kind = f"{kind}Odd"
    things = [*FEEDER, (kind, "odd", {"IdentifiedObject.name": "my odd thing"}), TERMINAL]
    fault = next(r for r in _rejected(read, things) if r.component == kind)
    assert fault.ids == ("my odd thing (odd)",)
    assert written(things).splitlines()[fault.row - 1].startswith(f"<cim:{kind} ")


@pytest.mark.parametrize(("thing", "change", "component", "says"), SPOILT)
def test_what_cannot_be_represented_is_named(read, thing, change, component, says):
    """Each broken or unknown construct is refused with its class, name and the reason."""
    with pytest.raises(FeederRejected) as error:
        assemble(read(_changed(thing, **change)))
    assert [r for r in error.value.rejected if r.component == component and says in r.reason], error.value


def test_a_phase_shifter_is_refused(read):
    """Things without terminals that change the equations are refused as well."""
    things = [*FEEDER, ("PhaseTapChangerLinear", "shifter", {"PhaseTapChanger.TransformerEnd": "->subend1"})]
    assert [r.component for r in _rejected(read, things)] == ["PhaseTapChangerLinear"]


def test_what_is_out_of_service_is_told(read):
    """A consumer out of service is left out with a note, a line becomes an open branch."""
    parts = read(_changed("spot", Equipment__inService="false"))
    assert any("spot is out of service" in note for note in parts.notes)
    assert len(parts.ports) == 6
    parts = read(_changed("tlineB2", ACDCTerminal__connected="false"))
    assert [b.closed for b in parts.branches if b.id == "ACLineSegment.lineB"] == [False]


# ---- untrusted files -----------------------------------------------------------------------------

BOMB = '<!DOCTYPE rdf:RDF [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'


def test_a_document_type_is_refused_before_anything_is_expanded(read):
    """No internal or external entities, no reading of other files."""
    for head in (BOMB, '<!DOCTYPE rdf:RDF SYSTEM "file:///etc/passwd">'):
        faults = _rejected(
            read, head + written(FEEDER).replace("lineA", "line&c;A", 1 if head is BOMB else 0)
        )
        assert [r.component for r in faults] == ["file"]


@pytest.mark.parametrize(
    ("text", "limits", "says"),
    [
        ("<html><body/></html>", {}, "not RDF/XML"),
        ("", {}, ""),
        (written(FEEDER)[:2000], {}, ""),
        (written([]), {}, "no terminals"),
        (written(FEEDER), {"most_bytes": 1000}, "bytes"),
        (written(FEEDER), {"most_elements": 100}, "elements"),
        (written(FEEDER).replace('rdf:about="urn:uuid:lineA"', ""), {}, "identifier"),
    ],
)
def test_a_file_that_is_not_one_is_refused(read, text, limits, says):
    """Broken, empty, foreign or too large: a fault that names the file, at once."""
    faults = _rejected(read, text, **limits)
    assert says in faults[0].reason


def test_a_missing_file_is_named(cim, tmp_path):
    """No such file, or a folder: a fault, not an exception of the operating system."""
    for path in (tmp_path / "gone.xml", tmp_path):
        with pytest.raises(FeederRejected, match="no such file"):
            cim.read_cim(path)


def test_without_lxml_the_error_says_what_to_install(cim, tmp_path, monkeypatch):
    """The optional component is asked for by name."""
    monkeypatch.setitem(sys.modules, "lxml", None)
    with pytest.raises(cim.CimMissing, match=r"pip install 'gridflock\[cim\]'"):
        cim.read_cim(tmp_path / "any.xml")


def test_parts_of_a_reader_start_clean():
    """Parts share no list of faults."""
    assert Parts("a").faults is not Parts("b").faults
