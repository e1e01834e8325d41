"""What devices are offered: programs with their defaults, curves and controls, as the state keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappush

from gridflock.field.ieee2030_5.events import earliest_start_s, latest_end_s
from gridflock.field.ieee2030_5.resources import DefaultDERControl, DERControl, DERCurve, EventState


@dataclass(frozen=True, slots=True)
class Program:
    """A group's controls, default and curves.

    Attributes:
        number: its place in addresses, never given twice.
        mrid: its identifier.
        name: unique among programs; what people and the map of groups call it.
        primacy: the lower wins.
        default: what holds while no control does; None where there is none.
    """

    number: int
    mrid: str
    name: str
    primacy: int
    default: DefaultDERControl | None = None

    @property
    def path(self) -> str:
        """Where it stands."""
        return f"/derp/{self.number}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A control that is over, of which late responses may still tell."""

    program: int
    end_s: int


@dataclass(slots=True)
class Offered:
    """Programs, their curves, and the controls that are not over.

    Attributes:
        programs: by number.
        controls: program to number to the control as it stands on the wire.
        curves: program to number to the curve.
        ended: mRID of controls that are over, until late responses are of no interest any more.
        next_program: number of the next program.
        next_control: of the next control.
        next_curve: of the next curve.
        by_name: program numbers.
        by_mrid: control to (program, number).
        due: moments at which a program's controls begin, give way or end, a heap of (moment, program).
    """

    programs: dict[int, Program] = field(default_factory=dict)
    controls: dict[int, dict[int, DERControl]] = field(default_factory=dict)
    curves: dict[int, dict[int, DERCurve]] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    next_program: int = 1
    next_control: int = 1
    next_curve: int = 1
    by_name: dict[str, int] = field(init=False, compare=False, default_factory=dict)
    by_mrid: dict[str, tuple[int, int]] = field(init=False, compare=False, default_factory=dict)
    due: list[tuple[int, int]] = field(init=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        self.by_name = {program.name: program.number for program in self.programs.values()}
        for program, controls in self.controls.items():
            for number, control in controls.items():
                self._index(program, number, control)

    def keep(self, program: Program) -> None:
        """Put in a program, or a new state of it."""
        known = self.programs.get(program.number)
        if known is not None:
            del self.by_name[known.name]
        self.programs[program.number] = program
        self.by_name[program.name] = program.number
        self.next_program = max(self.next_program, program.number + 1)

    def forget(self, number: int) -> None:
        """Take a program out with all that is in it; its controls count as ended."""
        program = self.programs.pop(number, None)
        if program is None:
            return
        del self.by_name[program.name]
        for control in list(self.controls.get(number, ())):
            self.end(number, control)
        self.controls.pop(number, None)
        self.curves.pop(number, None)

    def keep_control(self, program: int, number: int, control: DERControl) -> None:
        """Put in a control, or a new state of it."""
        self.controls.setdefault(program, {})[number] = control
        self.next_control = max(self.next_control, number + 1)
        self._index(program, number, control)

    def end(self, program: int, number: int) -> None:
        """A control is over and is listed no more."""
        control = self.controls[program].pop(number)
        del self.by_mrid[control.mrid]
        self.ended[control.mrid] = Ended(program, latest_end_s(control))

    def keep_curve(self, program: int, number: int, curve: DERCurve) -> None:
        """Put in a curve."""
        self.curves.setdefault(program, {})[number] = curve
        self.next_curve = max(self.next_curve, number + 1)

    def program_of(self, mrid: str) -> int | None:
        """The program a control belongs to or did; None for a stranger."""
        known = self.by_mrid.get(mrid)
        if known is not None:
            return known[0]
        over = self.ended.get(mrid)
        return None if over is None else over.program

    def _index(self, program: int, number: int, control: DERControl) -> None:
        self.by_mrid[control.mrid] = (program, number)
        state = control.event_status
        if state.current_status == EventState.SCHEDULED:
            heappush(self.due, (earliest_start_s(control), program))
        if state.potentially_superseded_time is not None:
            heappush(self.due, (state.potentially_superseded_time, program))
        heappush(self.due, (latest_end_s(control), program))
