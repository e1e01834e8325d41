"""What the operator must see of devices; what concerns whose a device is, is kept until it was told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridflock.field.ieee2030_5.server._turn import Change, Turn

if TYPE_CHECKING:
    from gridflock.field.ieee2030_5.server._state import State

_MOST_UNTOLD = 1_000


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something the operator must see.

    Attributes:
        lfdi: of the device.
        what: ``lost``: no contact for too long; ``back``: heard of again; ``not notified``: a subscription's
            service has ended; ``log event``: it reports something; ``registered``: it has registered itself;
            ``moved``: its client named another connection point; ``given up``: its aggregator took it out;
            ``claim ended``: somebody with more right to it came than the aggregator that had claimed it;
            ``contested``: an aggregator speaks for it, and its own certificate asks to be registered.
        since_s: last contact, or when it was.
        text: more, in words.
    """

    lfdi: str
    what: str
    since_s: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class AlarmsTold(Change):
    """The oldest ``many`` that were kept are where operators see them."""

    many: int

    def __call__(self, state: State) -> None:
        del state.untold[: self.many]


CHANGES: tuple[type[Change], ...] = (AlarmsTold,)


def keep_alarm(state: State, alarm: Alarm) -> None:
    """Keep an alarm until it was told, over a restart too; of too many the newest."""
    state.untold.append(alarm)
    del state.untold[:-_MOST_UNTOLD]


def alarms_told(turn: Turn, many: int) -> None:
    """The oldest so many are told."""
    turn.do(AlarmsTold(many))
