"""OpenDSS feeders read by us and solved by both: the published test feeders, single laws, bad files."""

from dataclasses import replace

import numpy as np
import pytest

from gridflock.field.opendss import available
from gridflock.field.opendss._check import reference
from gridflock.field.opendss._circuit import Circuit
from gridflock.field.opendss._import import read_dss
from gridflock.field.opendss._text import read_script
from gridflock.grid import initial, solve
from gridflock.grid.build import FeederRejected, assemble
from gridflock.grid.build._document import Faults

AGREEMENT_PU = 1e-6
WIDE = (0.85, 1.15)
"""Load limits for files whose CVR loads jump at their limits: there no unique answer exists."""
IEEE, EPRI = "feeders/IEEETestCases", "feeders/EPRITestCircuits"
MASTERS = [
    f"{IEEE}/4Bus-DY-Bal/4Bus-DY-Bal.DSS",
    f"{IEEE}/4Bus-GrdYD-Bal/4Bus-GrdYD-Bal.DSS",
    f"{IEEE}/4Bus-OYOD-Bal/4Bus-OYOD-Bal.DSS",
    f"{IEEE}/4Bus-OYOD-UnBal/4bus-OYOD-UnBal.dss",
    f"{IEEE}/4Bus-YD-Bal/4Bus-YD-Bal.DSS",
    f"{IEEE}/4Bus-YY-Bal/4Bus-YY-Bal.DSS",
    f"{IEEE}/4Bus-YYD/YYD-Master.DSS",
    f"{IEEE}/13Bus/IEEE13Nodeckt.dss",
    f"{IEEE}/34Bus/ieee34Mod1.dss",
    f"{IEEE}/34Bus/ieee34Mod2.dss",
    f"{IEEE}/37Bus/ieee37.dss",
    f"{IEEE}/123Bus/IEEE123Master.dss",
    f"{IEEE}/123Bus/Run_IEEE123Bus.DSS",
    f"{IEEE}/LVTestCase/Master.dss",
]
LARGE = [
    f"{IEEE}/8500-Node/Master.dss",
    f"{IEEE}/8500-Node/Master-unbal.dss",
    f"{EPRI}/ckt5/Master_ckt5.dss",
    f"{EPRI}/epri_dpv/J1/Master_withPV.dss",
    f"{EPRI}/epri_dpv/J1/Master_noPV.dss",
]


@pytest.fixture(autouse=True, scope="module")
def engine(require):
    """The OpenDSS engine is there."""
    require("OpenDSS (gridflock[opendss])", available())


@pytest.fixture
def write(tmp_path):
    """``write(text)``: a master file with a three-phase 12.47 kV circuit from bus s and ``text``."""

    def _write(text, circuit="basekv=12.47 bus1=s", bases="12.47 4.16 0.4"):
        path = tmp_path / "m.dss"
        path.write_text(
            f"clear\nnew circuit.c {circuit}\n{text}\nset voltagebases=[{bases}]\ncalcvoltagebases\n"
        )
        return path

    return _write


def _disagreement(path, root=None, limits=None, *, settle=False):
    """Largest difference in pu between our solution and OpenDSS's of the same file."""
    parts, _ = read_dss(path, root, limits)
    network = assemble(parts)
    theirs = reference(path, root, limits, settle=settle)
    on = [theirs.cap_on[network.shunts[row]] for row in network.capacitors.shunt]
    state = replace(
        initial(network), taps=np.array(theirs.taps, dtype=np.int8), cap_on=np.array(on, dtype=np.bool_)
    )
    flow = solve(network, network.load_kva, np.zeros(network.n, dtype=np.complex128), state, tol=1e-10)
    assert flow.converged
    assert theirs.converged
    wrong = np.abs(flow.v - theirs.on(network)) / network.v_base
    assert not np.isnan(wrong).any()
    return float(wrong.max())


# ---- published feeders ---------------------------------------------------------------------------


@pytest.mark.parametrize("settle", [False, True], ids=["as-written", "settled"])
@pytest.mark.parametrize("master", MASTERS)
def test_published_feeder_is_solved_as_opendss_does(shared, master, settle):
    """Every node within 1e-6 pu, at the written taps and at those OpenDSS's own controls choose."""
    data = shared / "data"
    assert _disagreement(data / master, data / "feeders", settle=settle) <= AGREEMENT_PU


@pytest.mark.slow
@pytest.mark.parametrize("settle", [False, True], ids=["as-written", "settled"])
@pytest.mark.parametrize("master", LARGE)
def test_large_feeder_is_solved_as_opendss_does(shared, master, settle):
    """The same for the 8500-node, ckt5 and J1 feeders; those with CVR loads with widened limits."""
    data = shared / "data"
    limits = WIDE if EPRI in master else None
    assert _disagreement(data / master, data / "feeders", limits, settle=settle) <= AGREEMENT_PU


@pytest.mark.parametrize("name", ["Kersting4wireIndMotor", "Kersting4wire_Lagging", "Kersting4wire_Leading"])
def test_an_induction_machine_is_refused_by_name_and_line(shared, name):
    """A machine that runs in a library of its own is no part of a steady-state network."""
    folder = shared / "data" / IEEE / "4wire-Delta"
    with pytest.raises(FeederRejected, match=rf"IndMach012a.*{name}\.dss:\d+"):
        read_dss(folder / f"{name}.dss")


# ---- laws of loads and generation ------------------------------------------------------------------

WEAK = "basekv=0.4 pu={pu} bus1=s mvasc3=0.5 mvasc1=0.4"
CONNECTIONS = [
    "bus1=s.1 phases=1 conn=wye kv=0.23",
    "bus1=s.2.3 phases=2 conn=wye kv=0.4",
    "bus1=s phases=3 conn=wye kv=0.4",
    "bus1=s phases=3 conn=delta kv=0.4",
]
LAWS = [
    "load.q {} kw=20 pf=.9 model=1",
    "load.q {} kw=20 kvar=-5 model=2",
    "load.q {} kva=20 pf=.9 model=3",
    "load.q {} xfkva=40 pf=.9 allocationfactor=0.4 model=4 cvrwatts=.8 cvrvars=3 vminpu=.8 vmaxpu=1.2",
    "load.q {} kw=20 pf=.9 model=5 vminpu=.9 vmaxpu=1.1 vlowpu=.6",
    "load.q {} kw=20 pf=.9 model=8 zipv=(.2 .3 .5 .1 .2 .7 0)",
    "load.q {} kw=4 pf=.9 model=1 vminpu=.3 vlowpu=.5",
    "generator.q {} kw=15 pf=.9 model=1",
    "generator.q {} kw=15 pf=.9 model=2",
    "pvsystem.q {} kva=30 pmpp=20 irradiance=.7 pf=.9",
    "pvsystem.q {} kva=30 pmpp=20 kvar=-3 model=2",
    "storage.q {} kva=30 kwrated=20 kw=15 pf=.9 state=discharging",
    "storage.q {} kva=30 kwrated=20 %charge=50 state=charging %stored=40",
]


@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize("law", LAWS)
def test_laws_hold_inside_and_outside_their_limits(write, law, connection):
    """From half to one and a third of the rated voltage every model is the engine's own."""
    for pu in (0.55, 0.92, 1.0, 1.33):
        path = write(f"new {law.format(connection)}", WEAK.format(pu=pu))
        assert _disagreement(path) <= 1e-8, pu


@pytest.mark.parametrize("kind", ["generator.q {} kw=15", "pvsystem.q {} kva=30 pmpp=20"])
@pytest.mark.parametrize("connection", ["phases=1 conn=delta kv=0.4", "kv=0.4 phases=1 conn=wye"])
@pytest.mark.parametrize("pu", [0.7, 1.0, 1.3])
def test_generation_follows_the_engines_own_rated_voltage(write, kind, connection, pu):
    """What the engine makes of the order of properties and of a delta phase is found by asking it."""
    assert _disagreement(write("new " + kind.format(f"bus1=s.1.2 {connection}"), WEAK.format(pu=pu))) <= 1e-8


def test_load_multiplier_and_status(write):
    """The file's multiplier is in the variable loads only, and only they follow a further one."""
    loads = [f"new load.{s} bus1=s kw=10 kv=12.47 status={s}\n" for s in ("variable", "fixed", "exempt")]
    path = write("".join(loads) + "set loadmult=0.5")
    parts, _ = read_dss(path)
    assert [p.kva.real for p in parts.ports[::3]] == pytest.approx([-10 / 6, -10 / 3, -10 / 3])
    assert [p.scaled for p in parts.ports[::3]] == [True, False, False]
    assert any("0.5" in note for note in parts.notes)
    assert _disagreement(path) <= 1e-8


# ---- linear elements -----------------------------------------------------------------------------

FEEDER = "new line.a bus1=s bus2=b length=2 units=km\nnew load.l bus1=b kv=12.47 kw=900 pf=.9\n"


GROUNDED = """
new transformer.t windings=2 buses=(b c.1.2.3.4) conns=(delta wye) kvs=(12.47 .4) kvas=(500 500)
~ taps=(1.02 .97)
new reactor.e phases=1 bus1=c.4 r=2 x=0
new load.m phases=1 bus1=c.2.4 kv=.23 kw=9
"""
AUTO = """
new autotrans.t windings=2 buses=(b c) conns=(series wye) kvs=(12.47 4.16) kvas=(900 900) xhx=4
~ wdg=2 tap=1.05
new regcontrol.r transformer=t winding=2 vreg=120 band=2 ptratio=20
new load.m bus1=c kv=4.16 kw=90
"""


@pytest.mark.parametrize(
    "text",
    [
        "new line.sw bus1=b bus2=c switch=y\nnew line.t bus1=s bus2=c length=3\nopen line.sw 1",
        "new line.sw bus1=b bus2=c switch=y\nnew line.t bus1=s bus2=c length=3\nopen line.sw 2 3",
        "new line.t bus1=s bus2=b length=3\nline.t.enabled=no",
        "new fault.f phases=1 bus1=b.1 bus2=b.2 r=20",
        "new fault.f phases=1 bus1=b.3 r=50",
        "new capacitor.c bus1=b kvar=600 kv=12.47 states=[0]",
        "new capacitor.c bus1=b kvar=(300 300) kv=12.47 numsteps=2 states=[1 0]",
        "new capacitor.c bus1=b bus2=c phases=3 cuf=500\nnew load.m bus1=c kv=12.47 kw=90",
        "new capacitor.c bus1=b kvar=600 kv=12.47 conn=delta",
        "new reactor.r bus1=b bus2=c phases=3 r=.1 x=1\nnew load.m bus1=c kv=12.47 kw=90",
        "new reactor.r bus1=b kvar=100 kv=12.47 conn=delta",
        "new vsource.v bus1=b basekv=12.47 pu=.99 angle=-1 mvasc3=20 mvasc1=15",
        "new vsource.v phases=1 bus1=b.2 basekv=7.2 angle=-118 r1=5 x1=9 r0=5 x0=9",
        GROUNDED,
        AUTO,
    ],
)
def test_elements_in_every_state_are_taken_as_the_engine_takes_them(write, text):
    """Switches, open phases, faults, banks, further sources, grounded neutrals, autotransformers."""
    assert _disagreement(write(FEEDER + text)) <= 1e-7


def test_an_open_switch_is_a_switch_that_is_open(write):
    """Opened as a whole it keeps its closed admittance and says it is open."""
    path = write(
        FEEDER + "new line.sw bus1=b bus2=c switch=y\nnew line.t bus1=s bus2=c length=3\nopen line.sw 1"
    )
    parts, _ = read_dss(path)
    switch = next(b for b in parts.branches if b.id == "line.sw")
    assert (switch.kind, switch.closed, switch.where) == ("switch", False, "m.dss:5")
    assert np.abs(switch.y).max() > 1.0


def test_ratings_places_and_coordinates(write, tmp_path):
    """Ampere at the first end, the place of definition, plan coordinates from the file."""
    (tmp_path / "xy.csv").write_text("S, 1, 2\nb, 3, 4\n")
    path = write(
        FEEDER + "line.a.normamps=321\nnew transformer.t windings=2 buses=(b c) kvs=(12.47 .4) kvas=(100 100)"
        " normhkva=110\nnew load.m bus1=c kv=.4 kw=9\nbuscoords xy.csv"
    )
    parts, _ = read_dss(path)
    line, transformer = parts.branches
    assert line.rating_a == 321.0
    assert line.where == "m.dss:3"
    assert transformer.rating_a == pytest.approx(110 / 12.47 / 3**0.5)
    assert [b.xy for b in parts.buses[:2]] == [(1.0, 2.0), (3.0, 4.0)]
    assert parts.buses[0].v == pytest.approx(12470 / 3**0.5)


# ---- controls ------------------------------------------------------------------------------------

BANK = "new transformer.t windings=2 buses=(s b) conns=({} wye) kvs=(12.47 12.47) kvas=(5000 5000) xhl=1"
TAPPED = """
new transformer.t phases=1 buses=(s.2 b.2) kvs=(7.2 7.2) kvas=(900 900) xhl=1
~ wdg=2 tap=1.025 numtaps=16 maxtap=1.15 mintap=.95
new regcontrol.r transformer=t winding=2 vreg=123 band=3 ptratio=60 ctprim=400 r=2 x=5 delay=22 maxtapchange=1
new load.l phases=1 bus1=b.2 kv=7.2 kw=90
"""
DELTA = """
new transformer.t phases=3 windings=2 buses=(s b) conns=(delta delta) kvs=(12.47 4.16) kvas=(900 900) xhl=4
new regcontrol.r transformer=t winding=2 vreg=120 band=2 ptratio=34.67 ptphase=2
new load.l bus1=b conn=delta kv=4.16 kw=90
"""


def test_regulator_settings_are_the_files(write):
    """All settings of a control, and its position counted from neutral."""
    parts, _ = read_dss(write(TAPPED))
    (reg,) = parts.regulators
    bus = [b.id for b in parts.buses].index("b")
    assert (reg.branch, reg.end, reg.seen, reg.current) == ("transformer.t", 1, (bus, 2, 0), 1)
    assert (reg.v_set_v, reg.band_v, reg.pt_ratio, reg.ct_a) == (123.0, 3.0, 60.0, 400.0)
    assert (reg.r_v, reg.x_v, reg.delay_s, reg.most_taps, reg.direction) == (2.0, 5.0, 22.0, 1, 1)
    assert (reg.tap, reg.tap_low, reg.tap_high) == (2, -4, 12)
    assert reg.step_pu == pytest.approx(0.0125)
    assert reg.base_v == 7200.0
    assert parts.branches[0].kind == "regulator"


@pytest.mark.parametrize("tap", [0.9, 0.9876, 1.0, 1.0444])
@pytest.mark.parametrize("wdg", [1, 2])
@pytest.mark.parametrize("conn", ["wye", "delta"])
def test_a_tap_moves_its_windings_admittance(write, conn, wdg, tap):
    """At any tap, on the grid or off it, either winding, the antifloat reactance left where it is."""
    control = f"new regcontrol.r transformer=t winding={wdg} vreg=120 band=2 ptratio=60"
    load = "new load.l bus1=b kv=12.47 kw=900"
    path = write(f"{BANK.format(conn)} ppm=40 wdg={wdg} tap={tap}\n{control}\n{load}")
    assert _disagreement(path) <= 1e-8
    (reg,) = read_dss(path)[0].regulators
    base = tap / (1 + reg.tap * reg.step_pu)
    assert base == pytest.approx(1.0, abs=0.0032)
    assert base * reg.step_pu == pytest.approx(0.00625)


def test_a_ganged_delta_control_sees_its_winding(write):
    """The voltage a control of a delta winding regulates is that across the winding of its phase."""
    parts, _ = read_dss(write(DELTA))
    assert set(parts.regulators[0].seen[1:]) in ({2, 3}, {1, 2})
    assert 0 not in parts.regulators[0].seen[1:]


def test_a_remote_bus_is_seen(write):
    """A control may look at another bus."""
    control = "new regcontrol.r transformer=t winding=2 vreg=120 band=2 ptratio=60 bus=c.2"
    load = "new load.l bus1=c kv=12.47 kw=90"
    path = write(f"{BANK.format('wye')}\nnew line.a bus1=b bus2=c length=1\n{control}\n{load}")
    parts, _ = read_dss(path)
    assert parts.buses[parts.regulators[0].seen[0]].id == "c"
    assert parts.regulators[0].seen[1:] == (2, 0)


@pytest.mark.parametrize(
    ("text", "mode", "on_at", "conductors", "seen"),
    [
        ("type=kvar onsetting=300 offsetting=-90 ctphase=2", "KVAR", 100.0, (1,), 0),
        (
            "type=kvar onsetting=300 offsetting=-90 ctphase=avg voltoverride=y vmin=110 vmax=130",
            "KVAR",
            300.0,
            (0, 1, 2),
            1,
        ),
        ("type=voltage onsetting=118 offsetting=124 ptratio=60 ptphase=avg", "VOLTAGE", 118.0, (), 3),
        ("type=current onsetting=200 offsetting=100 terminal=2", "CURRENT", 200.0, (3,), 0),
        ("type=time onsetting=6 offsetting=21.5", "TIME", 21600.0, (), 0),
    ],
)
def test_capacitor_controls_are_the_files(write, text, mode, on_at, conductors, seen):
    """What a control looks at and where it acts: one phase's kvar stands for three."""
    bank = "new capacitor.c bus1=b kvar=600 kv=12.47"
    path = write(f"{FEEDER}{bank}\nnew capcontrol.k capacitor=c element=line.a {text} delay=7")
    parts, _ = read_dss(path)
    (cap,) = parts.capacitors
    assert (cap.mode.name, cap.on_at, cap.conductors, len(cap.seen)) == (mode, on_at, conductors, seen)
    assert (cap.delay_s, cap.on, cap.shunt) == (7.0, True, "capacitor.c")
    assert bool(cap.branch) == bool(conductors)


# ---- load shapes ---------------------------------------------------------------------------------


def test_shapes_give_the_engines_power_over_a_day(write, tmp_path):
    """Factors and actual power, own Q, files, quarter hours, half steps, wrap-around: as in daily mode."""
    (tmp_path / "p.csv").write_text("0.5\n0.7\n0.9\n")
    path = write(
        "new loadshape.a npts=4 interval=1 mult=(.1 .2 .3 .4)\n"
        "new loadshape.b npts=4 minterval=30 mult=(1 2 3 4) qmult=(5 6 7 8) useactual=yes\n"
        "new loadshape.c npts=3 interval=.5 mult=(1 2 3) useactual=yes\n"
        "new loadshape.d npts=4 minterval=15 mult=(.1 .2 .3 .4) qmult=(.5 .6 .7 .8)\n"
        "new loadshape.e npts=3 interval=1 mult=(file=p.csv)\n"
        + "".join(f"new load.{k} bus1=s kv=12.47 kw=90 kvar=30 daily={k}\n" for k in "abcde")
        + "new load.z bus1=s kv=12.47 kw=90 kvar=30 model=8 zipv=(0 0 1 .5 0 .5 0) daily=b vminpu=.5\n"
        "new load.f bus1=s kv=12.47 kw=90 kvar=30 daily=a status=fixed\nnew load.n bus1=s kv=12.47 kw=90\n"
        "new generator.g bus1=s kv=12.47 kw=90 daily=a",
        "basekv=12.47 bus1=s r1=0 x1=1e-6 r0=0 x0=1e-6",
    )
    parts, shapes = read_dss(path)
    hours = 0.25 * np.arange(1, 41)
    base = np.array([port.kva for port in parts.ports])
    ours = shapes.kva(base, 3600.0 * hours)
    circuit = Circuit(read_script(path), Faults())
    circuit.command("set mode=daily stepsize=15m number=1 controlmode=off")
    names = dict.fromkeys(port.id.split(".")[0] + "." + port.id.split(".")[1] for port in parts.ports)
    for step in range(len(hours)):
        circuit.api.Solution.Solve()
        for name in names:
            circuit.activate(name)
            theirs = -np.asarray(circuit.api.ActiveCktElement.Powers).view(np.complex128).sum()
            mine = sum(ours[step, k] for k, port in enumerate(parts.ports) if port.id.startswith(name))
            assert mine == pytest.approx(theirs, abs=2e-2), (name, hours[step])


BEHIND = "new transformer.t buses=(s b) kvs=(12.47 12.47)\nnew load.l bus1=b kw=1 kv=12.47"


# ---- bad files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "new line.a bus1=s bus2=b\nnew load.l bus1=bb kv=12.47 kw=1",
            r"bus bb.*isolated.*load\.l.*m\.dss:4",
        ),
        ("new line.a bus1=s bus2=b length=0", r"line\.a.*zero impedance.*m\.dss:3"),
        ("new line.a bus1=s bus2=b r1=0 x1=0 r0=0 x0=0", r"line\.a.*zero impedance.*m\.dss:3"),
        ("new line.a bus1=s bus2=b\nnew line.q bus1=x bus2=y", r"bus x.*isolated.*line\.q \(m\.dss:4\)"),
        ("new line.a phases=1 bus1=s.1 bus2=b.1\nnew load.l bus1=b kv=12.47 kw=1", r"load\.l.*m\.dss:4"),
        ("new line.a phases=1 bus1=s.1.2 bus2=b.1", r"line\.a.*contradictory.*m\.dss:3"),
        (
            "new linecode.z nphases=3\nnew line.a phases=1 bus1=s.1 bus2=b.1 linecode=z",
            r"contradictory.*m\.dss:4",
        ),
        ("new line.a bus1=s bus2=b linecode=nope", r"line\.a.*nope.*m\.dss:3"),
        ("new line.a bus1=s bus2=b lnegth=4", r"line\.a.*lnegth.*m\.dss:3"),
        ("new line.a bus1=s bus2=b\nnew line.a bus1=s bus2=b", r"line\.a.*[Dd]uplicate.*m\.dss:4"),
        ("new load.l bus1=s kv=12.47 kw=abc", r"load\.l.*abc.*m\.dss:3"),
        (
            "new transformer.t buses=(s b) wdg=1 numtaps=0\nnew regcontrol.r transformer=t winding=1",
            r"regcontrol\.r: tapwinding.*m\.dss:4",
        ),
        ("new load.l bus1=s kv=0 kw=1", r"load\.l.*rated voltage.*m\.dss:3"),
        ("new load.l bus1=s kv=12.47 kw=1 model=7", r"load\.l.*model 7.*m\.dss:3"),
        ("new generator.g bus1=s kv=12.47 kw=1 model=3", r"generator\.g.*model 3.*m\.dss:3"),
        ("new pvsystem.p bus1=s kv=12.47 limitcurrent=yes", r"pvsystem\.p.*LimitCurrent.*m\.dss:3"),
        (
            "new vsource.v bus1=s bus2=b basekv=1\nnew line.a bus1=s bus2=b",
            r"vsource\.v.*two buses.*m\.dss:3",
        ),
        (
            (
                "new transformer.t buses=(s b) kvs=(12.47 12.47)\nnew load.l bus1=b kw=1 kv=12.47\n"
                "new regcontrol.r transformer=t winding=2 reversible=yes vreg=120"
            ),
            r"regcontrol\.r: Reversible.*m\.dss:5",
        ),
        (
            (
                "new line.a bus1=s bus2=b\nnew capacitor.c bus1=b kvar=9 kv=12.47\n"
                "new capcontrol.k capacitor=c element=line.a type=pf"
            ),
            r"capcontrol\.k: type.*m\.dss:5",
        ),
        (
            (
                "new transformer.t buses=(s b) conns=(delta delta) kvs=(12.47 .4) kvas=(9 9) ppm=0\n"
                "new load.l bus1=b conn=delta kv=.4 kw=1"
            ),
            r"singular",
        ),
        ("new load.l bus1=s kv=12.47 kw=(1 0 /)", r"load\.l: kw: a number that is not finite.*m\.dss:3"),
        ("new load.l bus1=s kv=12.47 kw=1e13", r"load\.l: kw: 10000000000000\.0 cannot be.*m\.dss:3"),
        (
            "new load.l bus1=s kv=12.47 kw=1 model=8 zipv=(0 0 1 (1 0 /) 0 1 0)",
            r"load\.l: zipv: .*None.*m\.dss:3",
        ),
        ("new load.l bus1=s kv=12.47 kw=1 vminpu=1.2 vmaxpu=1.1", r"load\.l\.1: limits: .*m\.dss:3"),
        ("new load.l bus1=s kv=12.47 kw=1\nset loadmult=(1 0 /)", r"load\.l\.1: kva: .*m\.dss:3"),
        ("new capacitor.c bus1=s kvar=9 kv=0", r"capacitor\.c: y: .*not finite.*m\.dss:3"),
        ("new capacitor.c bus1=s kvar=1e14 kv=.001", r"capacitor\.c: y: .*admittance above.*m\.dss:3"),
        ("new line.a bus1=s bus2=b.1.2.100", r"line\.a.*a node is a number from 0 to 99.*m\.dss:3"),
        *[
            (
                f"{BEHIND}\nnew regcontrol.r transformer=t winding=2 vreg=120 {words}",
                rf"regcontrol\.r: {field}: .*m\.dss:5",
            )
            for words, field in (
                ("ptratio=0", "pt_ratio"),
                ("ctprim=0 r=3", "ct_a"),
                ("band=-2", "band_v"),
                ("delay=-1", "delay_s"),
                ("band=(1 0 /)", "band"),
            )
        ],
        (
            (
                "new line.a bus1=s bus2=b\nnew capacitor.c bus1=b kvar=9 kv=12.47\n"
                "new capcontrol.k capacitor=c element=line.a type=kvar onsetting=(1 0 /) offsetting=1"
            ),
            r"capcontrol\.k: onsetting.*m\.dss:5",
        ),
    ],
)
def test_bad_files_are_refused_with_what_is_wrong(write, text, reason):
    """A message with file, line, element and what is wrong; no partial network."""
    path = write(text)
    with pytest.raises(FeederRejected, match=reason):
        assemble(read_dss(path)[0])


@pytest.mark.parametrize("text", ["", "set defaultbasefrequency=60\n", "new line.a bus1=s bus2=b\n"])
def test_a_file_without_a_circuit_is_refused(tmp_path, text):
    """A file that defines no circuit says so."""
    (tmp_path / "m.dss").write_text(text)
    with pytest.raises(FeederRejected, match="circuit"):
        read_dss(tmp_path / "m.dss")
