"""Virtual DERs and claims: ``gridflock group …``, ``claims``, ``claim``, ``release``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, show

app = typer.Typer(help="One virtual DER: shown, defined, changed, deleted.", no_args_is_help=True)

GroupId = Annotated[str, typer.Argument(metavar="GROUP", help="Group id.")]
Version = Annotated[str, typer.Option(help="The version you know, as 1.0.0; another is refused.")]
Place = Annotated[Path | None, typer.Option(help="GeoJSON file: only who is in this polygon.")]
Children = Annotated[list[str] | None, typer.Option("--child", help="Group inside it; repeat.")]
Parents = Annotated[list[str] | None, typer.Option("--parent", help="Defined group above it; repeat.")]
Inside = Annotated[list[str] | None, typer.Option(help="By rule only who is in one of these; repeat.")]
Outside = Annotated[list[str] | None, typer.Option(help="By rule only who is in none of these; repeat.")]


@app.command("show")
def show_group(
    group_id: Annotated[str, typer.Argument(metavar="GROUP", help="Group or resource id.")],
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Status, capability, forecast, children, members, and how it was defined."""
    answer = Remote(url, token).ask("GET", f"/api/groups/{quote(group_id)}")
    show(answer, as_json, rows=answer["members_sample"])


@app.command()
def define(
    group_id: GroupId,
    title: Annotated[str, typer.Option(help="For the screen.")] = "",
    member: Annotated[list[str] | None, typer.Option(help="Resource id; repeat.")] = None,
    child: Children = None,
    parent: Parents = None,
    rule: Annotated[str, typer.Option(help="Query over any attribute: who fulfils it is a member.")] = "",
    place: Place = None,
    inside: Inside = None,
    outside: Outside = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make a virtual DER of resources, of groups, by rule, or all of these."""
    body = {
        "group": group_id,
        "title": title,
        "members": member or [],
        "children": child or [],
        "parents": parent or [],
        "rule": rule,
        "place": _shape(place),
        "inside": inside or [],
        "outside": outside or [],
    }
    _told(Remote(url, token).ask("POST", "/api/groups", body=body), as_json)


@app.command()
def change(
    group_id: GroupId,
    version: Version = "",
    title: Annotated[str | None, typer.Option(help="For the screen.")] = None,
    join: Annotated[list[str] | None, typer.Option(help="Resource that becomes a member; repeat.")] = None,
    leave: Annotated[list[str] | None, typer.Option(help="Resource that leaves; repeat.")] = None,
    child: Children = None,
    parent: Parents = None,
    rule: Annotated[str | None, typer.Option(help="Instead of the query it follows.")] = None,
    place: Place = None,
    inside: Inside = None,
    outside: Outside = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Change a virtual DER; what is not given stays, lists of groups are given whole."""
    body = {
        "version": version,
        "title": title,
        "join": join or [],
        "leave": leave or [],
        "children": child or None,
        "parents": parent or None,
        "rule": rule,
        "place": _shape(place),
        "inside": inside or None,
        "outside": outside or None,
    }
    _told(Remote(url, token).ask("PATCH", f"/api/groups/{quote(group_id)}", body=body), as_json)


@app.command()
def delete(
    group_id: GroupId,
    version: Version = "",
    cascade: Annotated[
        bool, typer.Option("--cascade", help="End proposals on it; take it out of groups above.")
    ] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Delete a virtual DER; its members stay."""
    params = {"version": version, "cascade": cascade}
    _told(Remote(url, token).ask("DELETE", f"/api/groups/{quote(group_id)}", params=params), as_json)


def claims(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """What is promised, now or to come."""
    answer = Remote(url, token).ask("GET", "/api/claims")
    show(answer, as_json, rows=answer)


def claim(
    group_id: Annotated[str, typer.Argument(metavar="GROUP", help="Group or resource id.")],
    kind: Annotated[str, typer.Option(help="programme, offer, reserve, award, event, limit …")],
    up_kw: Annotated[float, typer.Option("--up-kw", help="To inject more or draw less.")] = 0.0,
    down_kw: Annotated[float, typer.Option("--down-kw", help="To inject less or draw more.")] = 0.0,
    e_kwh: Annotated[float, typer.Option("--e-kwh", help="In every day (UTC) that the time touches.")] = 0.0,
    start: Annotated[str, typer.Option(help="ISO 8601; default now.")] = "",
    minutes: Annotated[float, typer.Option(help="How long.")] = 60.0,
    owner: Annotated[str, typer.Option(help="To whom; default yourself.")] = "",
    priority: Annotated[str, typer.Option(help="operator, event, market …")] = "market",
    service: Annotated[str, typer.Option(help="Name of the service; default the kind.")] = "",
    why: Annotated[str, typer.Option(help="In words; kept in the ledger.")] = "",
    displace: Annotated[bool, typer.Option("--displace", help="Weaker claims give way.")] = False,
    replaces: Annotated[str, typer.Option(help="Claim that goes if this one is held.")] = "",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Promise something of a group, if it can be served beside all that is promised."""
    body = {
        "group": group_id,
        "kind": kind,
        "up_kw": up_kw,
        "down_kw": down_kw,
        "e_kwh": e_kwh,
        "start": start,
        "minutes": minutes,
        "owner": owner,
        "priority": priority,
        "service": service,
        "why": why,
        "displace": displace,
        "replaces": replaces,
    }
    answer = Remote(url, token).ask("POST", "/api/claims", body=body)
    show(answer if as_json else answer["claim"], as_json, rows=answer["displaced"])


def release(
    claim_id: Annotated[str, typer.Argument(metavar="CLAIM")],
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Give a claim up."""
    show(Remote(url, token).ask("DELETE", f"/api/claims/{quote(claim_id)}"), as_json)


def _told(answer: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 - a flag passed on
    lines = {name: value for name, value in answer["definition"].items() if value}
    lines |= {name: answer[name] for name in ("count", "withdrawn", "seq") if answer[name]}
    show(
        answer if as_json else {k: ", ".join(v) if isinstance(v, list) else v for k, v in lines.items()},
        as_json,
    )


def _shape(file: Path | None) -> Any:  # noqa: ANN401 - JSON
    """The geometry of a GeoJSON file, also where it is wrapped in a feature."""
    if file is None:
        return None
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        typer.echo(f"place: {file} cannot be read as GeoJSON: {error}", err=True)
        raise typer.Exit(1) from error
    return found["geometry"] if isinstance(found, dict) and "geometry" in found else found
