"""The rules of events: when a control holds, which one gives way, and what a device is under at a moment.

Both sides go by them: a device to act, a server to say what it expects of the device. All are functions of
values: of controls as they stand on the wire, programs' primacies, and a moment in the server's time.

A control holds from its start for its duration, each shifted by chance within the bounds that it states. The
chance of a device is drawn from its LFDI and the control's mRID, so that it is another for every device, and
the same after a restart.

Within a program a newer control replaces an older one of the same modes for good (``gives_way``), on each
device from its own start of the newer one. Between
programs the lower primacy wins, mode by mode, as long as it holds (``standing``): what it overtook holds
again afterwards if it has not ended. The standard leaves that open; to go on with what the server still lists
as active is what its list says.
"""

from gridflock.field.ieee2030_5.events._modes import MODES, GivesWay, gives_way, meet, modes
from gridflock.field.ieee2030_5.events._spans import Span, earliest_start_s, latest_end_s, span_of
from gridflock.field.ieee2030_5.events._standing import Offer, Standing, standing

__all__ = [
    "MODES",
    "GivesWay",
    "Offer",
    "Span",
    "Standing",
    "earliest_start_s",
    "gives_way",
    "latest_end_s",
    "meet",
    "modes",
    "span_of",
    "standing",
]
