"""Tap and capacitor controls of a compiled circuit, and the tap law of each regulated winding."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gridflock.field.opendss._circuit import Circuit, Complex
from gridflock.field.opendss._elements import Place, Walk
from gridflock.grid import CapacitorMode
from gridflock.grid.build import Branch, Capacitor, Regulator, Shunt

TRIAL = 1.05
"""Factor on a tap at which its law is tried at import."""
_MOST_WRONG = 1e-13
_MOST_TAPS = 127
_UNTOLD = {
    "Reversible": (False, "reverse mode"),
    "InverseTime": (False, "inverse time"),
    "LDC_Z": (0.0, "LDC_Z"),
    "VLimit": (0.0, "a voltage limit at the first house"),
    "Cogen": (False, "co-generation mode"),
}
"""Properties of a regulator control that have no counterpart, with the value at which they do nothing."""
_MODES = {"voltage": CapacitorMode.VOLTAGE, "kvar": CapacitorMode.KVAR, "current": CapacitorMode.CURRENT}


@dataclass(frozen=True, slots=True)
class Winding:
    """A regulated winding with its taps.

    Attributes:
        element: ``class.name`` of the transformer.
        number: 1-based.
        written: tap as the file left it, pu.
        base: tap that counts as position 0, pu: next to 1, a whole number of steps from ``written``.
        step: pu of the winding's voltage between two positions.
        lowest: lowest tap, pu.
        highest: highest tap, pu.
        rated_v: nominal voltage of the winding, V.
        conn: how it is connected: ``wye``, ``delta`` or ``series``.
    """

    element: str
    number: int
    written: float
    base: float
    step: float
    lowest: float
    highest: float
    rated_v: float
    conn: str

    @property
    def position(self) -> int:
        """Position as the file left it."""
        return round((self.written - self.base) / self.step)


class Taps:
    """The regulated windings of a circuit.

    Args:
        circuit: compiled.
    """

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self.controls = circuit.table("regcontrol")
        nameplates = (
            {
                f"{kind}.{row['Name']}": row
                for kind in ("transformer", "autotrans")
                for row in circuit.table(kind)
            }
            if self.controls
            else {}
        )
        self.windings: dict[str, Winding] = {}
        for row in self.controls:
            element = f"regcontrol.{row['Name']}"
            name = str(row["Transformer"]).lower().rsplit(".", 1)[-1]
            named = [f"{kind}.{name}" for kind in ("transformer", "autotrans")]
            target = next((n for n in named if n in nameplates), "")
            if not target:
                circuit.fault(element, "transformer", f"{name!r} is missing or disabled")
                continue
            winding = _winding(target, nameplates[target], int(row["TapWinding"]))
            if winding is None:
                circuit.fault(
                    element, "tapwinding", f"{target} has no taps at that winding: give it a tap range"
                )
                continue
            self.windings[element] = winding

    @property
    def elements(self) -> set[str]:
        """``class.name`` of all regulated transformers."""
        return {w.element for w in self.windings.values()}

    def positions(self) -> tuple[int, ...]:
        """Where the engine has each control's winding now."""
        now = []
        for w in self.windings.values():
            self.circuit.api.SetActiveElement(w.element)
            self.circuit.command(f"edit {w.element} wdg={w.number}")
            tap = float(self.circuit.api.ActiveDSSElement.Properties("Tap").Val)
            now.append(round((tap - w.base) / w.step))
        return tuple(now)

    def set(self, factor: float | None = None) -> None:
        """Put all regulated windings on ``factor`` times their neutral tap, or back as the file left them."""
        for w in self.windings.values():
            tap = w.written if factor is None else w.base * factor
            self.circuit.command(f"edit {w.element} wdg={w.number} tap={tap!r}")
        if self.windings:
            self.circuit.build()


def _winding(element: str, row: dict[str, Any], number: int) -> Winding | None:
    k = number - 1
    if not 0 <= k < len(row["Taps"]):
        return None
    low, high, count = row["MinTap"], row["MaxTap"], row["NumTaps"]
    low, high, count = (v[k] if isinstance(v, list) else v for v in (low, high, count))
    written = row["Taps"][k]
    if not (count >= 1 and high > low and written > 0.0):
        return None
    step = (high - low) / count
    conn = str(row["Conns"][k]).lower()
    rated = 1000.0 * row["kVs"][k]
    if row["Phases"] in {2, 3} and conn == "wye":
        rated /= math.sqrt(3.0)
    base = written - step * round((written - 1.0) / step)
    return Winding(element, number, written, base, step, low, high, rated, conn)


class Controls:
    """Makes regulators and capacitor controls.

    Args:
        walk: the circuit and the parts to fill, its branches and shunts already there.
        taps: the regulated windings, now at neutral.
    """

    def __init__(self, walk: Walk, taps: Taps) -> None:
        self.walk, self.taps = walk, taps
        self.circuit, self.parts = walk.circuit, walk.parts

    # ---- regulators --------------------------------------------------------------------------------

    def regulators(self) -> None:
        """All tap controls."""
        for row in self.taps.controls:
            element = f"regcontrol.{row['Name']}"
            for name, (idle, words) in _UNTOLD.items():
                if row[name] != idle:
                    self.circuit.fault(element, name, f"{words} cannot be represented: set {name}={idle}")
            if element in self.taps.windings:
                self._regulator(element, row, self.taps.windings[element])

    def _regulator(self, element: str, row: dict[str, Any], winding: Winding) -> None:
        self.circuit.activate(winding.element)
        place = self.walk.place(winding.element)
        end, phase = int(row["Winding"]) - 1, self._phase(element, row, place)
        seen = self._seen(element, row, winding, place, end, phase)
        if seen is None:
            return
        tapped = place.end_of[winding.number - 1]
        if tapped < 0 or winding.conn == "series":
            self.circuit.fault(element, "winding", "a series winding cannot be regulated here")
            return
        drop = bool(row["R"] or row["X"])
        at = end * len(place.nodes[0]) + phase
        if drop and at not in place.kept:
            self.circuit.fault(element, "PTphase", "the compensated phase is grounded")
            return
        self.parts.regulators.append(
            Regulator(
                id=element,
                branch=winding.element,
                end=tapped,
                seen=seen,
                current=place.kept.index(at) if drop else -1,
                v_set_v=row["VReg"],
                band_v=row["Band"],
                pt_ratio=row["RemotePTRatio"] if row["Bus"] else row["PTRatio"],
                ct_a=row["CTPrim"],
                r_v=row["R"],
                x_v=row["X"],
                delay_s=row["Delay"],
                tap=winding.position,
                base_v=winding.rated_v,
                tap_low=math.ceil((winding.lowest - winding.base) / winding.step - 1e-6),
                tap_high=math.floor((winding.highest - winding.base) / winding.step + 1e-6),
                step_pu=winding.step / winding.base,
                most_taps=min(int(row["MaxTapChange"]), _MOST_TAPS),
                direction=1 if winding.number == end + 1 else -1,
                where=self.circuit.where(element),
            )
        )

    def _phase(self, element: str, row: dict[str, Any], place: Place) -> int:
        """0-based phase a control looks at."""
        written, most = str(row["PTPhase"]), max(len(place.nodes[0]) - 1, 1)
        if written.isdigit() and 1 <= int(written) <= most:
            return int(written) - 1
        if most > 1:
            self.circuit.fault(element, "PTphase", f"{written!r} cannot be represented: name one phase")
        return 0

    def _seen(
        self, element: str, row: dict[str, Any], winding: Winding, place: Place, end: int, phase: int
    ) -> tuple[int, int, int] | None:
        """Bus and conductors whose voltage a control regulates."""
        if row["Bus"]:
            name, *nodes = str(row["Bus"]).lower().split(".")
            if winding.conn == "delta" or row["R"] or row["X"]:
                what = "line-drop compensation" if row["R"] or row["X"] else "a delta winding"
                self.circuit.fault(element, "bus", f"{what} with a remote bus cannot be represented")
            elif name not in self.walk.rows:
                self.circuit.fault(element, "bus", f"unknown bus {name!r}")
            else:
                return self.walk.rows[name], int(nodes[phase]) if len(nodes) > phase else phase + 1, 0
            return None
        wires = place.nodes[end]
        pair = wires[phase], wires[-1]
        if winding.conn == "delta" and len(wires) > 2:
            pair = self._delta_pair(winding, end, wires[:-1], phase)
        if pair[0] <= 0 or pair[0] == pair[1]:
            self.circuit.fault(element, "winding", "the regulated winding is grounded at that phase")
            return None
        return place.buses[end], pair[0], pair[1]

    def _delta_pair(self, winding: Winding, end: int, wires: list[int], phase: int) -> tuple[int, int]:
        """Conductors across one phase of a delta winding: those whose idle voltages differ by it."""
        api = self.circuit.api
        api.Solution.SolveDirect()
        api.Transformers.Name = winding.element.split(".", 1)[1]
        api.Transformers.Wdg = end + 1
        across = np.asarray(api.Transformers.WdgVoltages).view(np.complex128)[phase]
        self.circuit.activate(winding.element)
        volts = np.asarray(api.ActiveCktElement.Voltages).view(np.complex128)
        volts = volts[end * (len(wires) + 1) :]
        others = [k for k in range(len(wires)) if k != phase]
        best = min(others, key=lambda k: abs(volts[phase] - volts[k] - across))
        return wires[phase], wires[best]

    def split_windings(self) -> None:
        """Part what goes as 1/tap in a winding's rows and columns from what does not feel the tap.

        All regulated windings stand at ``TRIAL``, the branches were read at neutral. The engine adds a
        small reactance to ground at each terminal ("antifloat") after the taps: it becomes a shunt. A
        winding that differs in more than that is refused.
        """
        rows = {b.id: k for k, b in enumerate(self.parts.branches)}
        for element in sorted(self.taps.elements & rows.keys()):
            self.circuit.activate(element)
            place = self.walk.place(element)
            branch = self.parts.branches[rows[element]]
            moved = {w.number - 1 for w in self.taps.windings.values() if w.element == element}
            wires = len(place.nodes[0])
            scale = np.array([1.0 / TRIAL if k // wires in moved else 1.0 for k in place.kept])
            y = self.circuit.primitive()[np.ix_(place.kept, place.kept)]
            beside = y - branch.y * np.outer(scale, scale)
            fixed = np.where(scale < 1.0, np.diag(beside) / (1.0 - scale**2 + (scale == 1.0)), 0.0)
            wrong = np.abs(beside - np.diag(fixed * (1.0 - scale**2))).max()
            if wrong > _MOST_WRONG * np.abs(y).max():
                self.circuit.fault(element, "tap", "its admittance does not go as 1/tap: cannot be regulated")
            elif np.abs(fixed).max() > _MOST_WRONG * np.abs(y).max():
                self.parts.branches[rows[element]] = replace(branch, y=branch.y - np.diag(fixed))
                self._antifloat(branch, fixed)

    def _antifloat(self, branch: Branch, fixed: Complex) -> None:
        at = 0
        for k, end in enumerate(branch.ends):
            own = fixed[at : at + len(end.conductors)]
            at += len(end.conductors)
            if own.any():
                name = f"{branch.id}.antifloat.{k + 1}"
                self.parts.shunts.append(Shunt(name, "stray", end, np.diag(own), branch.where))

    # ---- capacitors --------------------------------------------------------------------------------

    def capacitors(self) -> None:
        """Controls of capacitors: they replace the fixed switches made with the banks."""
        rows = {c.id: k for k, c in enumerate(self.parts.capacitors)}
        for row in self.circuit.table("capcontrol"):
            element = f"capcontrol.{row['Name']}"
            bank = f"capacitor.{str(row['Capacitor']).lower()}"
            if bank not in rows:
                self.circuit.fault(element, "capacitor", f"{bank} is no shunt capacitor in service")
                continue
            found = self._capacitor(element, row, self.parts.capacitors[rows[bank]])
            if found is not None:
                self.parts.capacitors[rows[bank]] = found

    def _capacitor(self, element: str, row: dict[str, Any], bank: Capacitor) -> Capacitor | None:
        kind = str(row["Type"]).lower()
        mode = next((m for name, m in _MODES.items() if name.startswith(kind)), None)
        if "time".startswith(kind):
            mode = CapacitorMode.TIME
        if mode is None:
            self.circuit.fault(element, "type", f"{row['Type']} control cannot be represented")
            return None
        branch, end = str(row["Element"]).lower(), int(row["Terminal"]) - 1
        if self.circuit.activate(branch) < 0:
            self.circuit.fault(element, "element", f"{branch} is missing")
            return None
        place = self.walk.place(branch)
        override = bool(row["VoltOverride"])
        looked_at = mode is CapacitorMode.VOLTAGE or override
        flow = mode in {CapacitorMode.KVAR, CapacitorMode.CURRENT}
        phases = self.circuit.api.ActiveCktElement.NumPhases
        seen = self._looked_at(element, row, place, end, phases) if looked_at else ()
        conductors, parts = self._flow(element, row, place, end, phases) if flow else ((), 1.0)
        scale = 3600.0 if mode is CapacitorMode.TIME else 1.0
        scale = 1.0 / parts if mode is CapacitorMode.KVAR else scale
        return replace(
            bank,
            mode=mode,
            seen=seen,
            branch=branch if flow else "",
            branch_end=end,
            conductors=conductors,
            on_at=row["OnSetting"] * scale,
            off_at=row["OffSetting"] * scale,
            pt_ratio=row["PTRatio"],
            ct_ratio=row["CTRatio"],
            v_low_v=row["VMin"] if override else math.nan,
            v_high_v=row["VMax"] if override else math.nan,
            delay_s=row["Delay"],
            delay_off_s=row["DelayOff"],
        )

    def _looked_at(
        self, element: str, row: dict[str, Any], place: Place, end: int, phases: int
    ) -> tuple[tuple[int, int], ...]:
        """(bus, conductor) pairs whose mean voltage a capacitor control sees."""
        bus, wires = place.buses[end], place.nodes[end][:phases]
        if row["VBus"]:
            name, *nodes = str(row["VBus"]).lower().split(".")
            bus = self.walk.rows.get(name, -1)
            wires = [int(n) for n in nodes] or [1, 2, 3]
            if bus < 0:
                self.circuit.fault(element, "vbus", f"unknown bus {name!r}")
        return tuple((bus, wires[k]) for k in self._chosen(element, "PTPhase", row, len(wires)))

    def _flow(
        self, element: str, row: dict[str, Any], place: Place, end: int, phases: int
    ) -> tuple[tuple[int, ...], float]:
        """Positions within the branch whose flow is measured, and how many phases each stands for."""
        chosen = self._chosen(element, "CTPhase", row, phases)
        wires = len(place.nodes[0])
        conductors = tuple(place.kept.index(end * wires + k) for k in chosen if end * wires + k in place.kept)
        return conductors, phases / max(len(chosen), 1)

    def _chosen(self, element: str, name: str, row: dict[str, Any], phases: int) -> list[int]:
        """0-based phases that ``CTPhase`` or ``PTPhase`` names."""
        written = str(row[name]).lower()
        if written == "avg" or phases == 1:
            return list(range(phases))
        if written.isdigit() and 1 <= int(written) <= phases:
            return [int(written) - 1]
        self.circuit.fault(element, name, f"{written!r} cannot be represented: name one phase, or avg")
        return []
