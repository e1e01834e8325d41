"""Random feeders of every construct, written as .dss, solved by OpenDSS and by us: the same voltages."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from gridflock.field.opendss import available
from gridflock.field.opendss._check import reference
from gridflock.field.opendss._import import read_dss
from gridflock.grid import initial, solve
from gridflock.grid.build import assemble

AGREEMENT_PU = 1e-6
MV_KV = 12.47
LOAD_LIMITS = {
    1: ("0.95", "1.05"),
    2: ("0.95", "1.05"),
    3: ("0.6", "1.4"),
    4: ("0.6", "1.4"),
    5: ("0.92", "1.04"),
}


@dataclass
class Spot:
    """A bus of the random feeder: its nodes, line-to-line kV, and how loads may hang there."""

    name: str
    nodes: tuple[int, ...]
    kv: float
    kind: str
    """wye (grounded), delta (no ground), split (two legs of 120 V), four (explicit neutral 4)."""


@dataclass
class Writer:
    """Writes one random feeder."""

    rng: np.random.Generator
    rows: list[str] = field(default_factory=list)
    spots: list[Spot] = field(default_factory=list)
    count: int = 0

    def name(self, prefix):
        """A new name."""
        self.count += 1
        return f"{prefix}{self.count}"

    def pick(self, *choices):
        """One of some things."""
        return choices[self.rng.integers(len(choices))]

    def near(self, value, spread=0.3):
        """A number about a value."""
        return float(value * self.rng.uniform(1 - spread, 1 + spread))

    def nodes(self, nodes):
        """``.1.2.3`` of some nodes."""
        return "".join(f".{n}" for n in nodes)

    def matrix(self, size, own, mutual):
        """A symmetric positive matrix in the file's notation."""
        m = np.full((size, size), self.near(mutual))
        np.fill_diagonal(m, [self.near(own, 0.1) for _ in range(size)])
        return "[" + " | ".join(" ".join(f"{v:.6f}" for v in m[i, : i + 1]) for i in range(size)) + "]"

    # ---- constructs ------------------------------------------------------------------------------

    def source(self):
        """The circuit and its source."""
        self.rows += [
            "clear",
            f"new circuit.random basekv={MV_KV} pu={self.near(1.02, 0.03):.4f} angle={self.near(0, 1):.2f}",
            f"~ mvasc3={self.near(2000):.1f} mvasc1={self.near(1800):.1f} bus1=b0",
        ]
        self.spots.append(Spot("b0", (1, 2, 3), MV_KV, "wye"))

    def line(self, spot, nodes=None, to=None):
        """A line of some or all nodes of a spot to a new bus, or to a given one."""
        if nodes is None:
            size = int(self.rng.integers(1, len(spot.nodes) + 1)) if spot.kind == "wye" else len(spot.nodes)
            nodes = tuple(self.rng.permutation(spot.nodes)[:size].tolist())
        scale = (spot.kv / MV_KV) ** 2 * (4 if spot.kind != "split" else 40)
        line = self.name("line")
        target = to or self.name("b")
        ends = f"bus1={spot.name}{self.nodes(nodes)} bus2={target}{self.nodes(nodes)}"
        self.coded(line, len(nodes), ends, 0.25 * scale, 0.6 * scale)
        if to is None:
            self.spots.append(Spot(target, tuple(sorted(nodes)), spot.kv, spot.kind))
        return line

    def coded(self, line, size, ends, r, x):
        """A line with a code of its own: full matrices."""
        code, third = self.name("code"), 1 / 3
        self.rows.append(
            f"new linecode.{code} nphases={size} units=km rmatrix={self.matrix(size, r, third * r)}"
            f" xmatrix={self.matrix(size, x, 0.4 * x)} cmatrix={self.matrix(size, 9, -1.5)}"
        )
        self.rows.append(
            f"new line.{line} phases={size} {ends} linecode={code} length={self.near(0.3):.4f} units=km"
        )

    def four_wire(self, spot):
        """A line with its neutral, grounded at the far end through a resistance."""
        to = self.name("b")
        self.coded(self.name("line"), 4, f"bus1={spot.name}.1.2.3.0 bus2={to}.1.2.3.4", 0.3, 0.7)
        self.rows.append(
            f"new reactor.{self.name('earth')} phases=1 bus1={to}.4 bus2={to}.0 r={self.near(5):.3f} x=0.1"
        )
        self.spots.append(Spot(to, (1, 2, 3, 4), spot.kv, "four"))

    def transformer(self, spot):
        """A three-phase transformer of any connection."""
        to, kv = self.name("b"), self.pick(0.48, 4.16)
        conns = self.pick("wye wye", "delta wye", "wye delta", "delta delta")
        name = self.name("xf")
        self.rows.append(
            f"new transformer.{name} phases=3 windings=2 buses=({spot.name}.1.2.3 {to}.1.2.3) conns=({conns})"
            f" kvs=({spot.kv} {kv}) kvas=(1500 1500) xhl={self.near(5):.3f} %rs=({self.near(0.6):.3f} 0.5)"
            f" %imag={self.near(0.4):.3f} %noloadloss={self.near(0.2):.3f} taps=(1 {self.near(1, 0.04):.5f})"
            f" leadlag={self.pick('lag', 'lead')}"
        )
        kind = "wye" if conns.endswith("wye") else "delta"
        self.spots.append(Spot(to, (1, 2, 3), kv, kind))
        if kind == "delta":
            self.rows.append(
                f"new reactor.{self.name('earth')} bus1={to}.1.2.3 kv={kv} kvar={self.near(5):.3f} conn=wye"
            )

    def open_bank(self, spot):
        """Two single-phase transformers, open wye to open delta."""
        to = self.name("b")
        for first, second in ((1, 2), (2, 3)):
            self.rows.append(
                f"new transformer.{self.name('xf')} phases=1 windings=2"
                f" buses=({spot.name}.{first}.0 {to}.{first}.{second}) conns=(wye delta)"
                f" kvs=({spot.kv / 3**0.5:.6f} 4.16) kvas=(800 800) xhl={self.near(4):.3f} ppm=0"
            )
        self.rows.append(
            f"new capacitor.{self.name('cap')} bus1={to} phases=3 kv=4.16 kvar={self.near(30):.2f}"
        )
        self.spots.append(Spot(to, (1, 2, 3), 4.16, "delta"))

    def centre_tapped(self, spot):
        """A service transformer with two 120 V legs."""
        to, node = self.name("b"), self.pick(*[n for n in spot.nodes if n < 4])
        self.rows.append(
            f"new transformer.{self.name('ct')} phases=1 windings=3"
            f" buses=({spot.name}.{node} {to}.1.0 {to}.0.2) kvs=({spot.kv / 3**0.5:.6f} 0.12 0.12)"
            f" kvas=(50 50 50) %imag=0.5 %rs=(0.6 1.2 1.2) %noloadloss=.2 xhl=2.04 xht=2.04 xlt=1.36"
        )
        self.spots.append(Spot(to, (1, 2), 0.12 * 3**0.5, "split"))

    def regulator(self, spot):
        """A tapped transformer with its control at some position, on one node or ganged over three."""
        to, name = self.name("b"), self.name("reg")
        ganged = spot.nodes == (1, 2, 3) and bool(self.rng.integers(2))
        nodes = (1, 2, 3) if ganged else (self.pick(*spot.nodes),)
        kv = spot.kv if ganged else spot.kv / 3**0.5
        self.rows.append(
            f"new transformer.{name} phases={len(nodes)} windings=2 buses=({spot.name}{self.nodes(nodes)}"
            f" {to}{self.nodes(nodes)}) kvs=({kv:.6f} {kv:.6f}) kvas=(3000 3000) xhl={self.near(1):.3f}"
            f" %rs=(0.01 0.01) wdg=2 tap={1 + 0.00625 * int(self.rng.integers(-8, 9)):.5f}"
        )
        self.rows.append(
            f"new regcontrol.{name} transformer={name} winding=2 vreg=122 band=2 ptratio=60 r=2 x=4"
        )
        self.spots.append(Spot(to, nodes, spot.kv, "wye"))

    def load(self, spot):
        """A load of any model and connection that fits the bus."""
        model = int(self.pick(1, 1, 2, 3, 4, 5, 8))
        low, high = LOAD_LIMITS.get(model, ("0.93", "1.06"))
        size = self.near(3.0 if spot.kv < 0.3 else 60.0, 0.9)
        more = {4: f" cvrwatts={self.near(0.8):.3f} cvrvars={self.near(2.5):.3f}", 8: self.zip_shares()}.get(
            model, ""
        )
        self.rows.append(
            f"new load.{self.name('load')} {self.connection(spot)} model={model} kw={size:.3f}"
            f" pf={self.near(0.9, 0.1):.4f} vminpu={low} vmaxpu={high}{more}"
            f" status={self.pick('variable', 'fixed', 'exempt')}"
        )

    def zip_shares(self):
        """Shares of impedance, current and power that add up to one."""
        p, q = self.rng.dirichlet([1, 1, 1]), self.rng.dirichlet([1, 1, 1])
        return " zipv=(" + " ".join(f"{v:.6f}" for v in (*p, *q, 0.0)) + ")"

    def connection(self, spot):
        """Bus, phases, connection and rated kV of something that hangs at a spot."""
        ln = spot.kv / 3**0.5
        phases = [n for n in spot.nodes if n < 4]
        choices = [(f".{n}", 1, "wye", ln) for n in phases]
        if spot.kind == "delta":
            choices = []
        if spot.kind == "split":
            choices.append((".1.2", 1, self.pick("wye", "delta"), 2 * ln))
        elif len(phases) >= 2:
            first, second = self.rng.permutation(phases)[:2].tolist()
            choices.append((f".{first}.{second}", 1, self.pick("wye", "delta"), spot.kv))
        if spot.kind == "four":
            choices += [(f".{n}.4", 1, "wye", ln) for n in phases]
            choices.append((".1.2.3.4", 3, "wye", spot.kv))
        if spot.kind in {"wye", "four"} and len(phases) == 2:
            choices.append((self.nodes(phases), 2, "wye", spot.kv))
        if len(phases) == 3:
            choices.append((".1.2.3", 3, "delta", spot.kv))
            choices.append((".1.2.3", 2, "delta", spot.kv))
            if spot.kind != "delta":
                choices.append((".1.2.3", 3, "wye", spot.kv))
        nodes, count, conn, kv = self.pick(*choices)
        return f"bus1={spot.name}{nodes} phases={count} conn={conn} kv={kv:.6f}"

    def generation(self, spot):
        """A PV system, a generator or a storage unit."""
        size = self.near(2.0 if spot.kv < 0.3 else 40.0, 0.9)
        what = self.connection(spot)
        if "phases=2" in what:
            return
        self.rows.append(
            self.pick(
                f"new pvsystem.{self.name('pv')} {what} kva={size * 1.2:.3f} pmpp={size:.3f}"
                f" irradiance={self.near(0.7):.3f} pf={self.near(0.95, 0.04):.4f}",
                f"new generator.{self.name('gen')} {what} kw={size:.3f} pf={self.near(0.95, 0.04):.4f}"
                f" model={self.pick(1, 2)}",
                f"new storage.{self.name('bat')} {what} kwrated={size:.3f} kva={size * 1.2:.3f}"
                f" kwhrated=100 %stored=50 %discharge=60 %charge=40"
                f" state={self.pick('idling', 'discharging', 'charging')}",
            )
        )

    def capacitor(self, spot):
        """A capacitor bank."""
        kvar = self.near(0.5 if spot.kv < 0.3 else 30.0, 0.8)
        what = self.connection(spot)
        if "phases=2" in what:
            return
        bus, *rest = what.split(" ")
        name, *nodes = bus.removeprefix("bus1=").split(".")
        if "conn=wye" in rest and len(nodes) > 1 and "phases=1" in rest:
            bus = f"bus1={name}.{nodes[0]} bus2={name}.{nodes[1]}"
        elif nodes[-1] == "4":
            bus = f"bus1={name}.1.2.3 bus2={name}.4.4.4"
        self.rows.append(f"new capacitor.{self.name('cap')} {bus} {' '.join(rest)} kvar={kvar:.3f}")

    def mesh(self):
        """A second way between two buses of one voltage level."""
        wye = [s for s in self.spots if s.kind == "wye" and s.kv == MV_KV]
        a, b = self.pick(*wye), self.pick(*wye)
        common = tuple(n for n in a.nodes if n in b.nodes)
        if a is not b and common and not any(r.startswith("new regcontrol") for r in self.rows):
            self.line(a, common, b.name)

    def text(self, size):
        """The whole file."""
        self.source()
        for _ in range(size):
            wye = [s for s in self.spots if s.kind == "wye" and s.kv == MV_KV]
            full = [s for s in wye if len(s.nodes) == 3]
            grow = self.pick("line", "line", "line", "xf", "open", "ct", "ct", "reg", "four", "any")
            if grow == "line":
                self.line(self.pick(*wye))
            elif grow == "any":
                self.line(self.pick(*self.spots))
            elif grow in {"ct", "reg"}:
                {"ct": self.centre_tapped, "reg": self.regulator}[grow](self.pick(*wye))
            else:
                {"xf": self.transformer, "open": self.open_bank, "four": self.four_wire}[grow](
                    self.pick(*full)
                )
        for _ in range(int(self.rng.integers(3))):
            self.mesh()
        for spot in self.spots[1:]:
            for act in (self.load, self.load, self.generation, self.capacitor):
                if self.rng.uniform() < (0.7 if act == self.load else 0.2):
                    act(spot)
        self.rows.append(f"set voltagebases=[{MV_KV} 4.16 0.48 {0.12 * 3**0.5:.6f}]")
        self.rows.append("calcvoltagebases")
        return "\n".join(self.rows) + "\n"


def _disagreement(folder, seed, size):
    path = folder / "m.dss"
    path.write_text(Writer(np.random.default_rng(seed)).text(size))
    parts, _ = read_dss(path)
    network = assemble(parts)
    theirs = reference(path)
    state = replace(initial(network), taps=np.array(theirs.taps, dtype=np.int8))
    flow = solve(network, network.load_kva, np.zeros(network.n, dtype=np.complex128), state, tol=1e-10)
    assert theirs.converged
    assert flow.converged
    wrong = np.abs(flow.v - theirs.on(network)) / network.v_base
    worst = int(wrong.argmax())
    return float(wrong[worst]), network.node_name(worst)


@pytest.fixture(autouse=True, scope="module")
def engine(require):
    """The OpenDSS engine is there."""
    require("OpenDSS (gridflock[opendss])", available())


@pytest.mark.parametrize("seed", range(40))
def test_random_network_is_solved_as_opendss_does(tmp_path, seed):
    """Lines, transformers, neutrals, loads, generation, meshes in any mixture: voltages within 1e-6 pu."""
    wrong, node = _disagreement(tmp_path, seed, size=4 + seed % 12)
    assert wrong <= AGREEMENT_PU, node


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1400))
def test_many_random_networks_are_solved_as_opendss_does(tmp_path, seed):
    """The same over many more and larger feeders."""
    wrong, node = _disagreement(tmp_path, seed, size=5 + seed % 40)
    assert wrong <= AGREEMENT_PU, node
