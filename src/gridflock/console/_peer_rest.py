"""REST routes for a system above this one: what it says, and what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI

from gridflock.field.peer import standing_said
from gridflock.runtime import Derms, Scope


def peer_routes(app: FastAPI, derms: Derms, authority: Callable[..., Scope]) -> None:
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
