"""A checked script compiled by the OpenDSS engine, ready to be walked element by element."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.field.opendss._referee import OpenDssMissing, available
from gridflock.field.opendss._text import MOST_FAULTS, Script
from gridflock.grid.build import Faults

Complex = NDArray[np.complex128]
NUMBERS = frozenset(
    (
        *("kV", "kW", "kvar", "kVA", "Phases", "VMinpu", "VMaxpu", "VLowpu", "CVRWatts", "CVRVars", "ZIPV"),
        *(
            "BasekV",
            "pu",
            "Angle",
            "Frequency",
            "Length",
            "R",
            "X",
            "kVs",
            "kVAs",
            "Taps",
            "MinTap",
            "MaxTap",
        ),
        *(
            "VReg",
            "Band",
            "PTRatio",
            "RemotePTRatio",
            "CTPrim",
            "Delay",
            "LDC_Z",
            "VLimit",
            "Pmpp",
            "Irradiance",
        ),
        *("CTRatio", "OnSetting", "OffSetting", "DelayOff", "VMin", "VMax", "PF"),
    )
)
"""Properties that, where an element has them, have to be finite."""
_NOT_FINITE = re.compile(r"(?<=[\[,:\s])[+-]?(?:nan|inf(?:inity)?)(?=[\],}\s])", re.IGNORECASE)
MOST = 1e12
"""Nothing on a feeder is larger, in any unit used."""


class Circuit:
    """One script in one engine of its own.

    Args:
        script: checked commands.
        faults: takes what the engine objects to, each with the line it stands at.
        limits: pu voltages between which the law of every load is to hold, instead of the file's.

    Attributes:
        script: the same.
        faults: the same.
        api: the engine's circuit; its classes carry no types.
        out: names of elements opened as a whole, at both ends.
        partly: names of elements with a part of their phases open.

    Raises:
        OpenDssMissing: dss-python is not installed.
    """

    def __init__(self, script: Script, faults: Faults, limits: tuple[float, float] | None = None) -> None:
        if not available():
            raise OpenDssMissing("OpenDSS is not installed: pip install 'gridflock[opendss]'")
        from dss import DSS, DSSException  # noqa: PLC0415 optional component

        self.script, self.faults = script, faults
        self._error: type[Exception] = DSSException
        self._dss = DSS.NewContext()
        self._dss.AllowForms = self._dss.AllowEditor = self._dss.AllowChangeDir = False
        self.out: list[str] = []
        self.partly: list[str] = []
        self._tables: dict[str, list[dict[str, Any]]] = {}
        self._compile()
        faults.stop_if_any()
        self.api = self._dss.ActiveCircuit
        if limits is not None and self.names("load"):
            self.command(f"batchedit load..* vminpu={limits[0]} vmaxpu={limits[1]}")
        self.build()
        faults.stop_if_any()
        self._open()

    def command(self, text: str, where: str = "", element: str = "") -> None:
        """Give the engine one command; what it objects to becomes a fault."""
        with self._heard(where, element):
            self._dss.Text.Command = text

    def build(self) -> None:
        """Make all admittances anew."""
        with self._heard("", self.script.commands[-1].where if self.script.commands else ""):
            self.api.Solution.BuildYMatrix(1, 1)

    @contextmanager
    def _heard(self, where: str, element: str) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            text = _plain(error)
            if named := re.search(r"\b(\w+) \"([^\"]+)\"", text) if not element else None:
                element = f"{named[1]}.{named[2]}".lower()
                where = self.where(element) or where
            at = f" ({where})" if where else ""
            self.faults.add("opendss", element or "circuit", "engine", text + at)

    def _compile(self) -> None:
        for command in self.script.commands:
            self.command(command.text, command.where, command.element)
            if len(self.faults.found) >= MOST_FAULTS:
                return
        if not any(c.element.startswith("circuit.") for c in self.script.commands):
            self.faults.add("opendss", "circuit", "circuit", "the file defines no circuit (New Circuit.name)")

    def _open(self) -> None:
        """What is open as a whole at one end is opened at all: out of service, to be closed as one."""
        opened = dict.fromkeys(c.element for c in self.script.commands if c.text.startswith("open "))
        for name in opened:
            if self.activate(name) < 0:
                continue
            element = self.api.ActiveCktElement
            phases, ends = range(1, element.NumPhases + 1), range(1, element.NumTerminals + 1)
            states = [[bool(element.IsOpen(end, phase)) for phase in phases] for end in ends]
            if any(all(of) for of in states):
                self.out.append(name)
            elif any(any(of) for of in states):
                self.partly.append(name)
        self.switch(closed=False)

    def switch(self, *, closed: bool) -> None:
        """Put the elements that are out back in, or out again."""
        for name in self.out:
            self.activate(name)
            element = self.api.ActiveCktElement
            for end in range(1, element.NumTerminals + 1):
                (element.Close if closed else element.Open)(end, 0)
        if self.out:
            self.build()

    # ---- looking -----------------------------------------------------------------------------------

    def activate(self, name: str) -> int:
        """Make an element the active one; negative if there is none of that name."""
        return int(self.api.SetActiveElement(name))

    def table(self, kind: str) -> list[dict[str, Any]]:
        """All properties of all enabled elements of a class, as the engine held them when first asked."""
        if kind not in self._tables:
            self._tables[kind] = self._table(kind)
        return self._tables[kind]

    def _table(self, kind: str) -> list[dict[str, Any]]:
        if self.api.SetActiveClass(kind) <= 0 or not self.api.ActiveClass.Count:
            return []
        rows: list[dict[str, Any]] = json.loads(_NOT_FINITE.sub("null", self.api.ActiveClass.ToJSON(1)))
        rows = [{**row, "Name": row["Name"].lower()} for row in rows if row.get("Enabled", True)]
        return [row for row in rows if self._is_finite(kind, row)]

    def _is_finite(self, kind: str, row: dict[str, Any]) -> bool:
        """Whether the numbers an element cannot do without are numbers; else a fault names them."""
        wrong = [name for name in NUMBERS & row.keys() if not _finite(row[name])]
        for name in sorted(wrong):
            shown = "a number that is not finite" if row[name] is None else repr(row[name])[:60]
            self.fault(f"{kind}.{row['Name']}", name.lower(), f"{shown} cannot be")
        return not wrong

    def names(self, kind: str) -> list[str]:
        """``class.name`` of all elements of a class, lower case."""
        if self.api.SetActiveClass(kind) <= 0 or not self.api.ActiveClass.Count:
            return []
        return [f"{kind}.{name.lower()}" for name in self.api.ActiveClass.AllNames]

    def where(self, element: str) -> str:
        """``file:line`` where an element is defined; empty if the file does not define it."""
        return self.script.places.get(element, "")

    def primitive(self) -> Complex:
        """(k, k) primitive admittance of the active element, S."""
        flat = np.asarray(self.api.ActiveCktElement.Yprim, dtype=np.float64).view(np.complex128)
        size = round(len(flat) ** 0.5)
        block: Complex = flat.reshape(size, size).T.copy()
        block[~np.isfinite(block)] = np.nan  # of infinities no sum can be made; whoever takes it refuses it
        return block

    def fault(self, element: str, what: str, reason: str) -> None:
        """Note a fault with its place."""
        where = self.where(element)
        self.faults.add(element.split(".", 1)[0], element, what, reason + (f" ({where})" if where else ""))


def _plain(error: Exception) -> str:
    """The engine's message on one line, without its own framing."""
    text = str(error)
    if found := re.search(r"Error Description:\s*(.*?)\s*(?:Probable Cause|$)", text, re.DOTALL):
        text = found[1]
    text = re.sub(r"^\(#\d+\)\s*", "", re.sub(r"\s+", " ", text)).strip()[:300]
    if "inversion" in text.lower():
        text += ": zero impedance; give it a length and an impedance, or take it out"
    if "singular" in text.lower():
        text += ": a part without a path to ground or a zero impedance"
    return text


def _finite(value: object) -> bool:
    if isinstance(value, list):
        return all(_finite(item) for item in value)
    return isinstance(value, int | float) and math.isfinite(value) and abs(value) <= MOST
