"""The state of a feeder from a file of readings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridflock.grid import Network, initial
from gridflock.grid.estimation import Known, Measurements, Pseudo, Quantity, StateEstimate, estimate_state
from gridflock.runtime._registry import FileRejected, read_rows
from gridflock.runtime.feeder._read import FeederUnreadable
from gridflock.units import NEVER_S, unix_s

MOST_FAULTS = 50
UNLIKELY = 4.0
"""Standard deviations of a chi-square sum beyond which chance is no explanation."""
QUANTITIES = {
    "voltage_v": Quantity.VOLTAGE,
    "voltage_pu": Quantity.VOLTAGE,
    "port_voltage_v": Quantity.PORT_VOLTAGE,
    "port_kw": Quantity.PORT_KW,
    "port_kvar": Quantity.PORT_KVAR,
    "branch_kw": Quantity.BRANCH_KW,
    "branch_kvar": Quantity.BRANCH_KVAR,
    "branch_a": Quantity.BRANCH_A,
}
COLUMNS = ("quantity", "element", "value", "sigma")


@dataclass(frozen=True, slots=True)
class Estimated:
    """An estimate at a glance.

    Attributes:
        converged: only then are the other numbers an answer.
        readings: in the file.
        missing: of them without a value.
        used: of them that the estimate rests on.
        chi_square: weighted sum of squares.
        freedom: its expectation.
        nodes_known: how many node voltages rest on what.
        sigma_v_mean_pu: mean standard deviation of the voltages.
        sigma_v_worst_pu: largest one.
        sigma_v_worst_node: where.
        v_min_pu: lowest voltage.
        v_max_pu: highest.
        remark: what the figures together mean, where they mean something.
        bad: readings that contradict the others, with what was expected.
        rejected: impossible readings, by rule.
    """

    converged: bool
    readings: int
    missing: int
    used: int
    chi_square: float
    freedom: int
    nodes_known: dict[str, int]
    sigma_v_mean_pu: float
    sigma_v_worst_pu: float
    sigma_v_worst_node: str
    v_min_pu: float
    v_max_pu: float
    remark: str
    bad: list[str]
    rejected: list[str]


def estimate(
    network: Network, readings: Path, now: str = "", load_scale: float = 1.0, share: float = 0.5
) -> tuple[Estimated, StateEstimate]:
    """Estimate the state from a file of readings.

    Args:
        network: the feeder, its controls as written.
        readings: CSV or JSON with the columns ``quantity`` (voltage_v, voltage_pu, port_voltage_v,
            port_kw, port_kvar, branch_kw, branch_kvar, branch_a), ``element`` (bus, load id or branch
            id), ``phase`` (a, b, c; for buses and branches), ``value`` (empty: missing), ``sigma``
            (same unit, or a share as ``5%``) and, optional, ``t`` (ISO time) and ``id``. Powers in the
            house sign: demand negative; branch flow positive from its first end.
        now: the present, ISO 8601; the newest reading's time if empty.
        load_scale: expected load of ports nobody reads, as a share of the written one.
        share: standard deviation of that expectation, as a share of it.

    Raises:
        FeederUnreadable: the file cannot be read; row, field and rule of every fault.
    """
    try:
        now_s = unix_s(now) if now else NEVER_S
    except ValueError as error:
        raise FeederUnreadable([f"now: {now!r} (rule: ISO 8601)"]) from error
    given = _measurements(network, readings, now_s)
    now_s = int(given.time_s.max()) if now_s == NEVER_S else now_s
    expected = np.where(network.load_scaled, load_scale, 1.0) * network.load_kva
    found = estimate_state(network, initial(network), Pseudo.shares(expected, share), given, now_s)
    return _glance(network, found, given), found


def _glance(network: Network, found: StateEstimate, given: Measurements) -> Estimated:
    watched = np.flatnonzero(network.topology.live & (network.node_phase < 3))
    sigma, v = found.sigma_v_pu[watched], found.v_pu[watched]
    worst = int(np.nanargmax(sigma))
    known = Counter(Known(code).name.lower() for code in found.node_known[watched].tolist())
    return Estimated(
        converged=found.converged,
        readings=len(given),
        missing=found.missing,
        used=int((~np.isnan(found.redundancy)).sum()),
        chi_square=round(found.chi_square, 2),
        freedom=found.freedom,
        nodes_known=dict(sorted(known.items())),
        sigma_v_mean_pu=float(f"{np.nanmean(sigma):.3g}"),
        sigma_v_worst_pu=float(f"{sigma[worst]:.3g}"),
        sigma_v_worst_node=network.node_name(int(watched[worst])),
        v_min_pu=round(float(v.min()), 6),
        v_max_pu=round(float(v.max()), 6),
        remark=_remark(found),
        bad=[f"{b.id}: {b.value:.6g}, expected {b.expected:.6g} ({b.normalised:+.1f} σ)" for b in found.bad],
        rejected=[f"{r.field} {', '.join(r.ids)}: {r.reason}" for r in found.rejected],
    )


def _remark(found: StateEstimate) -> str:
    """A sum of squares far beyond its expectation that no reading explains alone."""
    beyond = found.freedom + UNLIKELY * np.sqrt(2.0 * max(found.freedom, 1))
    if found.bad or found.chi_square <= beyond:
        return ""
    return (
        f"the readings contradict each other ({found.chi_square:.0f} where {found.freedom} is expected) and "
        "too few of them overlap to say which is wrong: look at sigma, taps and --load"
    )


def node_rows(found: StateEstimate) -> Iterator[tuple[object, ...]]:
    """Bus, phase, voltage, standard deviation and what it rests on, of every node."""
    network = found.network
    for node in range(network.n):
        bus, phase = network.node_name(node).rsplit(".", 1)
        numbers = (float(found.v_pu[node]), float(found.sigma_v_pu[node]))
        yield bus, phase, *(round(x, 6) for x in numbers), Known(int(found.node_known[node])).name.lower()


def _measurements(network: Network, file: Path, now_s: int) -> Measurements:
    try:
        rows = read_rows(file)
    except FileRejected as error:
        raise FeederUnreadable([f"{file}: {error}"]) from error
    places = _Places(network)
    faults: list[str] = []
    found: list[Measurements] = []
    for number, row in zip(rows.numbers, rows, strict=True):
        try:
            found.append(places.measurement(row, now_s))
        except ValueError as error:
            faults.append(f"{file}: line {number}: {error}")
            if len(faults) >= MOST_FAULTS:
                break
    if faults or not found:
        raise FeederUnreadable(faults or [f"{file}: no readings"])
    return Measurements.joined(found)


class _Places:
    """Where a reading's words point to."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.node = {network.node_name(row): row for row in range(network.n)}
        self.port = {name: row for row, name in enumerate(network.loads)}
        self.branch = {name: row for row, name in enumerate(network.branches)}

    def measurement(self, row: Mapping[str, object], now_s: int) -> Measurements:
        """One reading.

        Raises:
            ValueError: naming field and rule.
        """
        absent = [name for name in COLUMNS if name not in row and name != "value"]
        if absent:
            raise ValueError(f"{', '.join(absent)}: missing")
        words = str(row["quantity"]).strip().lower()
        if words not in QUANTITIES:
            raise ValueError(f"quantity: {words!r} is none of {', '.join(QUANTITIES)}")
        element, phase = str(row["element"]).strip(), str(row.get("phase") or "").strip().lower()
        at = self._row(words, element, phase)
        given = row.get("value")
        value = _number("value", "nan" if given in {None, ""} else str(given))
        sigma = _sigma(str(row["sigma"]), value)
        if words == "voltage_pu":
            value, sigma = (x * float(self.network.v_base[at]) for x in (value, sigma))
        moment = str(row.get("t") or "")
        try:
            t_s = unix_s(moment) if moment else max(now_s, 0)
        except ValueError as error:
            raise ValueError(f"t: {moment!r} is no ISO 8601 time") from error
        name = str(row.get("id") or f"{words} {element}{'.' + phase if phase else ''}")
        return Measurements.of(QUANTITIES[words], [at], np.array([value]), sigma, t_s, (name,))

    def _row(self, words: str, element: str, phase: str) -> int:
        if words.startswith("voltage"):
            if f"{element}.{phase}" not in self.node:
                raise ValueError(f"element: no node {element}.{phase} (bus and phase)")
            return self.node[f"{element}.{phase}"]
        if words.startswith("port"):
            if element not in self.port:
                raise ValueError(f"element: no load {element!r}")
            return self.port[element]
        if element not in self.branch:
            raise ValueError(f"element: no branch {element!r}")
        head = self.network.branch_head[self.branch[element]]
        place = "abc".find(phase) if phase else -1
        if place < 0 or head[place] < 0:
            raise ValueError(f"phase: branch {element!r} has no phase {phase!r} at its first end")
        return int(head[place])


def _number(field: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{field}: {text!r} is no number") from error


def _sigma(text: str, value: float) -> float:
    text = text.strip()
    share = text.endswith("%")
    sigma = _number("sigma", text.rstrip("%"))
    if not (np.isfinite(sigma) and sigma > 0.0):
        raise ValueError(f"sigma: {text!r} is not above 0")
    return max(sigma / 100.0 * abs(value), 1e-6) if share and np.isfinite(value) else sigma
