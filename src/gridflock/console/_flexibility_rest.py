"""REST route of flexibility ahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI

from gridflock.runtime import Derms, Scope, plain


def flexibility_route(app: FastAPI, derms: Derms, authority: Callable[..., Scope]) -> None:
    """What a group will be able to do."""
    who = Depends(authority)

    @app.get("/api/flexibility", tags=["read"])
    def flexibility(group: str = "all", hours: int = 6, notice_s: int = 900, scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Quantiles of what a group can deliver, by moment, run and way."""
        return plain(derms.flexibility(scope, group, hours, notice_s))
