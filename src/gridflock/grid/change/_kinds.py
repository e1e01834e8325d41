"""What can be done to a network: one small value per kind of change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gridflock.grid.build._parts import Branch, Bus, Capacitor, Port, Regulator, Shunt, Source
from gridflock.model import Rejected


@dataclass(frozen=True, slots=True)
class OpenSwitch:
    """A switch, or any other branch, opens with all its phases.

    Attributes:
        id: branch.
    """

    id: str


@dataclass(frozen=True, slots=True)
class CloseSwitch:
    """A switch, or any other branch, closes; one that is out of service stays dead until it is restored.

    Attributes:
        id: branch.
    """

    id: str


@dataclass(frozen=True, slots=True)
class Outage:
    """An element is taken out of service; its switch position is kept.

    Attributes:
        id: branch, shunt or source.
        component: ``"branch"``, ``"shunt"`` or ``"source"`` where more than one has that name.
    """

    id: str
    component: str = ""


@dataclass(frozen=True, slots=True)
class Restore:
    """An element is back in service, at the switch position it has.

    Attributes:
        id: branch, shunt or source.
        component: ``"branch"``, ``"shunt"`` or ``"source"`` where more than one has that name.
    """

    id: str
    component: str = ""


@dataclass(frozen=True, slots=True)
class LockTap:
    """A regulator is set to a position and held there: its control does not act.

    Attributes:
        id: regulator.
        tap: position.
    """

    id: str
    tap: int


@dataclass(frozen=True, slots=True)
class FreeTap:
    """A regulator's control acts again, from where it stands.

    Attributes:
        id: regulator.
    """

    id: str


@dataclass(frozen=True, slots=True, eq=False)
class AddElement:
    """A new element. Ends name buses by their row; a new bus gets the next row after the last.

    Attributes:
        part: the element. A bus needs its nominal voltage and, in the same change, an element at it.
    """

    part: Bus | Branch | Port | Shunt | Source | Regulator | Capacitor


@dataclass(frozen=True, slots=True)
class RemoveElement:
    """An element goes for good, with the controls that act on it; so does a bus nothing is left at.

    Attributes:
        id: branch, port, shunt or source.
        component: ``"branch"``, ``"port"``, ``"shunt"`` or ``"source"`` where more than one has that name.
    """

    id: str
    component: str = ""


Switching = OpenSwitch | CloseSwitch | Outage | Restore | LockTap | FreeTap
Rebuilding = AddElement | RemoveElement
Change = Switching | Rebuilding


class ChangeRejected(ValueError):  # noqa: N818 it carries `Rejected` values and is named after them
    """A change that cannot be made. Nothing of it was done; the version it was asked of stays valid.

    Attributes:
        rejected: all faults found; ``row`` is the position of the change in what was asked, from 1,
            or 0 where it is the outcome of all of them together.
    """

    def __init__(self, rejected: Sequence[Rejected]) -> None:
        self.rejected = tuple(rejected)
        lines = [f"{r.component} {', '.join(r.ids)}: {r.field}: {r.reason}" for r in self.rejected]
        super().__init__("\n".join([f"change refused, {len(lines)} faults", *lines]))
