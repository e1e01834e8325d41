"""REST routes of the guard: modes, second persons, all to default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from gridflock.runtime import Derms, Scope, plain

_Why = Annotated[str, Query(description="In words; kept in the ledger.")]


class ModeBody(BaseModel):
    """What a feeder or group is to take part in."""

    model_config = ConfigDict(extra="forbid")

    mode: str = Field(description="automatic, advisory or disabled.", max_length=40)
    why: str = Field("", description="In words; kept in the ledger.")


class DefaultBody(BaseModel):
    """All to default."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    minutes: float = Field(60.0, description="How long at most.")
    why: str = Field("", description="In words; kept in the ledger.")


def guard_routes(app: FastAPI, derms: Derms, authority: Callable[..., Scope]) -> None:
    """What people set for the guard, and what it has held back."""
    who = Depends(authority)

    @app.get("/api/guard", tags=["read"])
    def guard(scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Modes, budgets, what waits for a second person, the kill switch."""
        return plain(derms.guard(scope))

    @app.put("/api/guard/modes/{group:path}", tags=["write"])
    def set_mode(group: str, body: ModeBody, scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Say what a feeder or group takes part in."""
        return plain(derms.set_mode(scope, group, **body.model_dump()))

    @app.post("/api/guard/waiting/{proposal_id}", tags=["write"])
    def approve(proposal_id: str, *, why: _Why = "", scope: Scope = who) -> Any:  # noqa: ANN401 - the same
        """Be the second person for a proposal that waits."""
        return plain(derms.approve(scope, proposal_id, why=why))

    @app.delete("/api/guard/waiting/{proposal_id}", tags=["write"])
    def refuse(proposal_id: str, *, why: _Why = "", scope: Scope = who) -> Any:  # noqa: ANN401 - the same
        """Send a proposal that waits away."""
        return plain(derms.refuse(scope, proposal_id, why=why))

    @app.post("/api/guard/default", tags=["write"])
    def all_to_default(body: DefaultBody, scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Take every order back and send nothing else."""
        return plain(derms.all_to_default(scope, **body.model_dump()))

    @app.delete("/api/guard/default", tags=["write"])
    def end_default(*, why: _Why = "", scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Say that orders may be sent again; two persons end it."""
        return plain(derms.end_default(scope, why=why))
