"""Commands of the guard: modes, second persons, all to default."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, show

app = typer.Typer(
    help="The last look before the wire: modes, second persons, kill switch.", no_args_is_help=True
)

Why = Annotated[str, typer.Option(help="In words; kept in the ledger.")]
_ProposalId = Annotated[str, typer.Argument(metavar="PROPOSAL", help="Id of a proposal that waits.")]


@app.command("show")
def show_guard(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Modes, what waits for a second person, budgets, the kill switch."""
    _told(Remote(url, token).ask("GET", "/api/guard"), as_json)


@app.command("mode")
def set_mode(
    group_id: Annotated[str, typer.Argument(metavar="GROUP", help="Feeder section, group or resource.")],
    mode: Annotated[str, typer.Argument(help="automatic, advisory or disabled.")],
    why: Why = "",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Say what a feeder or group takes part in."""
    body = {"mode": mode, "why": why}
    _told(Remote(url, token).ask("PUT", f"/api/guard/modes/{quote(group_id)}", body=body), as_json)


@app.command()
def approve(
    proposal_id: _ProposalId, why: Why = "", url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """Be the second person for a proposal that waits."""
    path = f"/api/guard/waiting/{quote(proposal_id)}"
    _told(Remote(url, token).ask("POST", path, params={"why": why}), as_json)


@app.command()
def refuse(
    proposal_id: _ProposalId, why: Why = "", url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """Send a proposal that waits away."""
    path = f"/api/guard/waiting/{quote(proposal_id)}"
    _told(Remote(url, token).ask("DELETE", path, params={"why": why}), as_json)


@app.command("default")
def all_to_default(
    minutes: Annotated[float, typer.Option(help="How long at most.")] = 60.0,
    why: Why = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Take every order back and send nothing else: the kill switch."""
    if not yes:
        typer.confirm("Take all orders back and send nothing else?", abort=True)
    body = {"minutes": minutes, "why": why}
    _told(Remote(url, token).ask("POST", "/api/guard/default", body=body), as_json)


@app.command("end")
def end_default(why: Why = "", url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Say that orders may be sent again; two persons end "all to default"."""
    _told(Remote(url, token).ask("DELETE", "/api/guard/default", params={"why": why}), as_json)


def _told(answer: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 - a flag passed on
    """The guard on the screen: switch and limits as lines, modes, what waits and budgets as tables."""
    if as_json:
        show(answer, as_json)
        return
    on = answer["default"]
    lines = {"all to default": "off" if on is None else f"since {on['since']} by {on['author']}: {on['why']}"}
    if on is not None:
        lines |= {
            "until": on["until"],
            "open": on["open"],
            "to end it": ", ".join(on["ending"]) or "nobody yet",
        }
    lines |= {"one step": _kw(answer["step_kw"]), "one person": _kw(answer["approval_kw"])}
    if answer["held"]:
        lines["held now"] = ", ".join(f"{why} {many}" for why, many in answer["held"].items())
    if answer["trials"]:
        lines["tried out"] = ", ".join(answer["trials"])
    show(lines, as_json)
    for rows in (answer["modes"], answer["waiting"], answer["approvals"], answer["budgets"]):
        show([], as_json, rows=rows)


def _kw(limit: float | None) -> str:
    return "no limit" if limit is None else f"{limit:g} kW"
