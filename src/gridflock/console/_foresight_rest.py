"""REST routes of foresight: the score card, and limits that may break."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI

from gridflock.runtime import Derms, Scope, plain


def foresight_routes(app: FastAPI, derms: Derms, authority: Callable[..., Scope]) -> None:
    """How good forecasts were, and what they mean for the feeder."""
    who = Depends(authority)

    @app.get("/api/card", tags=["read"])
    def card(days: int = 21, scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Marks of every series and method, champions, drift, faults of the data."""
        return plain(derms.card(scope, days))

    @app.get("/api/emerging", tags=["read"])
    def emerging(paths: int = 100, least: float = 0.02, most: int = 50, scope: Scope = who) -> Any:  # noqa: ANN401 - the same
        """Limits that may break under the plan in force, and who could prevent it."""
        return plain(derms.emerging(scope, paths, least, most))
