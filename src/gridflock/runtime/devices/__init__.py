"""Simulated devices that speak a real protocol over real connections.

``Simulated`` is a device of the simulated world as a client's plant, ``VirtualDevices`` runs many clients by
any clock, with the faults that ``Faults`` draws. ``speaking`` puts some of a world's devices behind a utility
server in the same process: their readings and orders then go through TLS sockets and XML. ``StandsFor`` is a
whole running system as the plant of a client above it, ``Upward`` the client itself, with one such plant or
with many. ``Apart`` are devices of a world of their own that
speak to a server anywhere; ``attach`` gives a running system a server of its own, and its operators their
hand on
it.
"""

from gridflock.runtime.devices._apart import Apart, Contact
from gridflock.runtime.devices._clients import Faults, VirtualDevices
from gridflock.runtime.devices._operated import is_host
from gridflock.runtime.devices._plants import Simulated
from gridflock.runtime.devices._served import REGISTRATION, Serve, attach
from gridflock.runtime.devices._speaking import speaking
from gridflock.runtime.devices._standing_for import StandsFor
from gridflock.runtime.devices._upward import Upward

__all__ = [
    "REGISTRATION",
    "Apart",
    "Contact",
    "Faults",
    "Serve",
    "Simulated",
    "StandsFor",
    "Upward",
    "VirtualDevices",
    "attach",
    "is_host",
    "speaking",
]
