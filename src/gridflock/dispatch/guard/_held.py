"""Why the guard held an order back, and what the guard lets a feeder take part in."""

from __future__ import annotations

from enum import IntEnum


class Held(IntEnum):
    """The reason for which an order was held; ``NOT`` where it went out."""

    NOT = 0
    NOT_FINITE = 1
    """NaN or infinite."""
    TAKES_NONE = 2
    """Its resource takes no orders."""
    UNITS = 3
    """A thousand times too large: watts taken for kilowatts."""
    SIGN = 4
    """Within nameplate only with its sign turned."""
    NAMEPLATE = 5
    """Beyond nameplate."""
    REACTIVE = 6
    """Reactive power beyond the rating."""
    TWICE = 7
    """Its resource was asked more than once."""
    DISABLED = 8
    """Its feeder or group receives nothing."""
    ADVISORY = 9
    """Decided and shown, never sent."""
    DEFAULT = 10
    """All resources are on their own defaults: the kill switch."""
    CANARY = 11
    """Its author is being tried out on a few of its members."""
    REVERSAL = 12
    """Its resource has changed direction too often."""
    APPROVAL = 13
    """More than one person may move alone."""
    BUDGET = 14
    """Its credential's budget is spent."""
    MOVED = 15
    """Too much was moved in this feeder or group within the window."""
    SHARE = 16
    """Too many members of one feeder or group at once."""
    STEP = 17
    """Too large a step, or too fast, for a feeder or group."""
    STEP_KVAR = 18
    """The same of reactive power."""
    RETURN = 19
    """All were on their defaults, and come again one by one."""
    SWING = 20
    """Its feeder or group as a whole has changed direction too often."""

    @property
    def implausible(self) -> bool:
        """Whether no resource could have followed it."""
        return Held.NOT < self <= Held.TWICE


class Mode(IntEnum):
    """What a feeder or group takes part in; of several the strictest holds."""

    AUTOMATIC = 0
    """Orders are sent."""
    ADVISORY = 1
    """Orders are decided, shown and recorded, and never sent."""
    DISABLED = 2
    """Nothing is decided for it and it receives nothing."""
