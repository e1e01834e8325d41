"""Another Gridflock: one above, one below, over HTTPS with JSON.

``wire`` turns directives and standings into JSON objects and back, bounded and checked by field; ``Peer`` is
the client by which the system above reaches one below. What is served to it is part of the façade
(``direct``, ``standing``), so that the same authority and ledger stand before it as before any person.
"""

from gridflock.field.peer._connect import Peer, Unanswered
from gridflock.field.peer._wire import directive_from, directive_said, standing_from, standing_said

__all__ = ["Peer", "Unanswered", "directive_from", "directive_said", "standing_from", "standing_said"]
