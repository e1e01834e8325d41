"""The verb of a system that is offered to a server above it over IEEE 2030.5."""

from __future__ import annotations

from gridflock.runtime._access import Role, Scope
from gridflock.runtime._authority import Authority
from gridflock.runtime._life import UnknownName
from gridflock.runtime._offered_port import Offered, OfferedView


class Offering(Authority):
    """How the system stands with a server above it."""

    def offered(self, scope: Scope) -> OfferedView:
        """How this system stands with the server above: contact, registration, what it follows and answered.

        Raises:
            UnknownName: it is offered to none.
        """
        scope.require(Role.VIEWER)
        found = self._loop.upward
        if found is None:
            message = "offered to no server above (gridflock run --above-2030-5)"
            raise UnknownName(message)
        return found.view()

    def speak_above(self, client: Offered) -> None:
        """Let a client tell how it stands, from the next tick on as troubles too."""
        self._loop.upward = client
