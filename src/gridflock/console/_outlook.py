"""What a group did and will do unasked: ``gridflock outlook``, and its REST route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from fastapi import Depends, FastAPI

from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, show
from gridflock.runtime import Derms, Scope, plain

_SHOWN = (0.1, 0.5, 0.9)


def outlook(
    group: Annotated[str, typer.Argument(help="Group or resource id.")] = "all",
    days: Annotated[int, typer.Option(min=1, max=9, help="So far back in --json.")] = 1,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """What a group is expected to do unasked: what nine futures in ten exceed, half of them, and one, kW.

    Means, which add up from group to group, stand beside them. With --json also what was counted, all
    quantiles, and how reliable they have been.
    """
    answer = Remote(url, token).ask("GET", "/api/outlook", params={"group": group, "days": days})
    at = {level: answer["levels"].index(level) for level in _SHOWN}
    rows = [
        {"from": moment}
        | {f"p{level * 100:.0f} kW": answer["ahead_kw"][q][k] for level, q in at.items()}
        | {"mean kW": answer["mean_kw"][k]}
        for k, moment in enumerate(answer["t"][:-1])
    ]
    facts = {name: answer[name] for name in ("group", "known_at", "by")}
    show(answer if as_json else facts, as_json, rows=rows)


def outlook_route(app: FastAPI, derms: Derms, authority: Callable[..., Scope]) -> None:
    """What is expected of a group."""
    who = Depends(authority)

    @app.get("/api/outlook", tags=["read"])
    def outlook(group: str = "all", days: int = 1, scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """What a group did and is expected to do unasked, in quantiles, and how reliable these were."""
        return plain(derms.outlook(scope, group, days))
