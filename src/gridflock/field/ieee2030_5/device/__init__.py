"""A client of IEEE 2030.5: a device's own, or an aggregator's for the many behind it.

A client is given one path; all else it finds by links: the server's time, by which events go; itself among
the end devices (or it registers); its assignments, their programs, controls and defaults, asked for at the
rates that the server states. By ``gridflock.field.ieee2030_5.events`` it knows what holds; its ``Plant``
does it; responses, readings, status, settings and log events go back. Without contact it follows what it
knows to its end and falls to the default.

Nothing here waits or opens a connection: a ``Line`` carries requests, ``Client.visit`` does what is due at a
moment of the client's own clock, ``Client.due_s`` says when to come again.
"""

from gridflock.field.ieee2030_5.device._client import Client, Identity, Site, State
from gridflock.field.ieee2030_5.device._plant import Plant
from gridflock.field.ieee2030_5.device._responses import Owed, Responses
from gridflock.field.ieee2030_5.device._session import Line, Refused, Reply

__all__ = ["Client", "Identity", "Line", "Owed", "Plant", "Refused", "Reply", "Responses", "Site", "State"]
