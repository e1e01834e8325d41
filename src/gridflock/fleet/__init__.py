"""What the resources are and do: the state of the fleet as columns, and its virtual DERs.

Readings flow in through ``Fleet.ingest``; every tick takes one frozen ``Image``, which is all that
the stages see. ``capability`` says what each resource can do now and why not more. ``Groups`` nests
resources into virtual DERs with the same face upwards (``group_status``) as a resource has;
downwards ``split`` shares a group's target among its members, and adding the shares up again gives
the target or a shortfall with its causes. ``flexibility`` looks ahead: the bands a plan may use.

Each room has a face of its own beside these names: ``registry`` (with ``enrolment`` and ``identities``),
``groups``, ``functions``, ``sharing`` (with ``switching``), ``flexible``, ``claims`` and ``doctor``.

Rows are sorted by kind, so that a family is one slice; columns are contiguous; a level of groups is one
code per row. Nothing here loops over devices in a tick.
"""

from gridflock.fleet._capability import capability
from gridflock.fleet._columns import Fleet, Image
from gridflock.fleet._reactive import reactive_room
from gridflock.fleet.flexible import arrivals_kwh, flexibility
from gridflock.fleet.groups import Groups, GroupStatus, group_status
from gridflock.fleet.sharing import Split, fair, split

__all__ = [
    "Fleet",
    "GroupStatus",
    "Groups",
    "Image",
    "Split",
    "arrivals_kwh",
    "capability",
    "fair",
    "flexibility",
    "group_status",
    "reactive_room",
    "split",
]
