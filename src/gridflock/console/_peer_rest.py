"""REST routes for a system above this one: what it says, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fastapi import Depends, FastAPI

from gridflock.field.peer import standing_said
from gridflock.model import Standing
from gridflock.runtime import Scope


class Directed(Protocol):
    """A system that may stand under another one."""

    def standing(self, scope: Scope) -> Standing:
        """What it tells upwards."""

    def direct(self, scope: Scope, document: Mapping[str, Any]) -> Standing:
        """What it is told."""


def peer_routes(app: FastAPI, derms: Directed, authority: Callable[..., Scope]) -> None:
    """The border to a system above, in the JSON of ``field.peer``."""
    who = Depends(authority)

    @app.get("/api/standing", tags=["read"])
    def standing(scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Bounds that this system keeps, its power, what it can do and means to do."""
        return standing_said(derms.standing(scope))

    @app.post("/api/directive", tags=["write"])
    def direct(document: dict[str, Any], scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Say between which powers this system has to stay; the next tick keeps to it."""
        return standing_said(derms.direct(scope, document))
