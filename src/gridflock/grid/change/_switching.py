"""Changes that move positions only: rows keep their meaning, the elements stay the same objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from gridflock.grid._network import Network
from gridflock.grid.build._document import Faults
from gridflock.grid.change._kinds import (
    CloseSwitch,
    FreeTap,
    LockTap,
    OpenSwitch,
    Outage,
    Restore,
    Switching,
)

SERVICE = ("branch", "shunt", "source")


class Names:
    """Rows of a network's elements by name; a wrong name becomes a fault that says what is near."""

    def __init__(self, network: Network, faults: Faults) -> None:
        self._ids = {
            "branch": network.branches,
            "shunt": network.shunts,
            "source": network.sources,
            "port": network.loads,
            "regulator": network.regulators.ids,
        }
        self._rows: dict[str, dict[str, int]] = {}
        self._faults = faults

    def rows(self, component: str) -> dict[str, int]:
        """Rows of one component by name."""
        if component not in self._rows:
            self._rows[component] = {name: row for row, name in enumerate(self._ids[component])}
        return self._rows[component]

    def find(self, name: str, among: Sequence[str], wanted: str, at: int) -> tuple[str, int] | None:
        """Component and row of an element; None, and a fault, where there is none or more than one."""
        if wanted and wanted not in among:
            self._faults.add(wanted, name, "component", f"expected one of {', '.join(among)}", at)
            return None
        kinds = (wanted,) if wanted else among
        found = [(kind, self.rows(kind)[name]) for kind in kinds if name in self.rows(kind)]
        if len(found) == 1:
            return found[0]
        words = " or ".join(kinds)
        if found:
            several = " and a ".join(kind for kind, _ in found)
            self._faults.add(kinds[0], name, "component", f"there is a {several} of that name: say which", at)
            return None
        near = get_close_matches(name, [n for kind in kinds for n in self.rows(kind)], 3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        self._faults.add(kinds[0], name, "id", f"there is no {words} of that name{hint}", at)
        return None


def switched(
    network: Network, changes: Sequence[Switching], first: int, faults: Faults
) -> tuple[Network, list[str]]:
    """The network after changes of position, and in words those that made a difference.

    Args:
        network: the version.
        changes: in order; a later one overrides an earlier.
        first: position of the first of them in what was asked, from 1.
        faults: what is wrong is added here.
    """
    draft = _Draft(network, faults)
    for at, change in enumerate(changes, start=first):
        draft.take(change, at)
    return draft.network(), draft.words


class _Draft:
    """Copies of the columns that positions are kept in."""

    def __init__(self, network: Network, faults: Faults) -> None:
        self._of = network
        self._faults = faults
        self._names = Names(network, faults)
        self._closed = network.branch_closed.copy()
        self._out = {
            "branch": network.branch_out.copy(),
            "shunt": network.shunt_out.copy(),
            "source": network.source_out.copy(),
        }
        self._tap = network.regulators.tap.copy()
        self._locked = network.regulators.locked.copy()
        self.words: list[str] = []

    def network(self) -> Network:
        """The version with these positions; the same object where nothing was done."""
        if not self.words:
            return self._of
        return replace(
            self._of,
            branch_closed=self._closed,
            branch_out=self._out["branch"],
            shunt_out=self._out["shunt"],
            source_out=self._out["source"],
            regulators=replace(self._of.regulators, tap=self._tap, locked=self._locked),
            wired=self._of.wiring,
        )

    def take(self, change: Switching, at: int) -> None:
        """Do one change, or note why it cannot be done."""
        match change:
            case OpenSwitch(name) | CloseSwitch(name):
                self._switch(name, isinstance(change, CloseSwitch), at)
            case Outage(name, component) | Restore(name, component):
                self._service(name, component, isinstance(change, Outage), at)
            case LockTap(name, tap):
                self._lock(name, tap, at)
            case FreeTap(name):
                self._free(name, at)
            case _:
                raise TypeError(f"not a change of a network: {change!r}")

    def _switch(self, name: str, closed: bool, at: int) -> None:  # noqa: FBT001 the position
        found = self._names.find(name, ("branch",), "", at)
        if found and self._closed[found[1]] != closed:
            self._closed[found[1]] = closed
            kind = self._of.branch_kind[found[1]]
            self.words.append(f"{kind} {name} {'closed' if closed else 'opened'}")

    def _service(self, name: str, component: str, out: bool, at: int) -> None:  # noqa: FBT001 the state
        found = self._names.find(name, SERVICE, component, at)
        if found and self._out[found[0]][found[1]] != out:
            self._out[found[0]][found[1]] = out
            kind = self._kind(*found)
            self.words.append(f"{kind} {name} {'taken out of service' if out else 'back in service'}")

    def _kind(self, component: str, row: int) -> str:
        if component == "branch":
            return self._of.branch_kind[row]
        return self._of.shunt_kind[row] if component == "shunt" else component

    def _lock(self, name: str, tap: int, at: int) -> None:
        found = self._names.find(name, ("regulator",), "", at)
        if not found:
            return
        row, reg = found[1], self._of.regulators
        low, high = int(reg.tap_low[row]), int(reg.tap_high[row])
        if tap % 1 or not low <= tap <= high:
            self._faults.add("regulator", name, "tap", f"{tap!r} is not a position in {low}..{high}", at)
        elif not self._locked[row] or self._tap[row] != tap:
            self._tap[row], self._locked[row] = tap, True
            self.words.append(f"regulator {name} held at position {tap}")

    def _free(self, name: str, at: int) -> None:
        found = self._names.find(name, ("regulator",), "", at)
        if found and self._locked[found[1]]:
            self._locked[found[1]] = False
            self.words.append(f"regulator {name} controls again")
