"""Forecasts of a running system: ``gridflock card``, ``gridflock emerging``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, out, show

_MARKS = ("series", "method", "days", "mae_kw", "nmae", "pinball_kw", "crps_kw", "crps_ratio", "coverage")

_NEAR = ("days", "crps_kw", "crps_ratio", "coverage", "drift")


def card(
    days: Annotated[int, typer.Option(help="Over how many of the last marked days.")] = 21,
    every: Annotated[bool, typer.Option("--all", help="Every method, not only champions.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """How good forecasts were, series by series: champions, marks, what has changed, faults of the data."""
    answer = Remote(url, token).ask("GET", "/api/card", params={"days": days})
    if as_json:
        show(answer, as_json)
        return
    known, needed = answer["known_days"], answer["needed_days"]
    if answer["learnt_at"]:
        models = ", ".join(f"{name} ({count})" for name, count in answer["models"].items())
        out.print(f"learnt {answer['learnt_at']} from {known} days: {models or 'no model'}", highlight=False)
    else:
        said = f"is learnt from {needed} days on" if needed else "nothing is learnt"
        out.print(f"habits tell: {known} days are known, {said}", highlight=False)
    out.print(f"weather until {answer['weather_until'] or 'nothing is heard of it'}", highlight=False)
    table = Table(*_MARKS, header_style="bold")
    for row in answer["marks"]:
        if row["champion"] or every:
            style = "bold" if row["champion"] and every else None
            table.add_row(
                *("" if row[name] is None else escape(str(row[name])) for name in _MARKS), style=style
            )
    out.print(table)
    if any(row["days"] for row in answer["near"]):
        out.print(_near(answer["near"]))
    for text in answer["failed"]:
        out.print(f"[yellow]not trained: {escape(text)}[/yellow]", highlight=False, soft_wrap=True)
    for one in answer["drift"]:
        told = f"{one['series']}: {one['rule']} ({one['method']}, {one['value']}) since {one['since']}"
        out.print(f"[yellow]{escape(told)}[/yellow]", highlight=False, soft_wrap=True)
    for one in answer["faults"]:
        told = f"{one['series']}: {one['rule']} from {one['start']}: {one['seen']}; {one['repair']}"
        out.print(escape(told), highlight=False, soft_wrap=True)
    _tell_hidden(answer["hidden"])


def _tell_hidden(found: list[dict[str, Any]]) -> None:
    """Sun behind meters, or why it cannot be separated."""
    for one in found:
        told = f"{one['id']}: sun behind the meter that nobody has registered: "
        if one["reason"]:
            told += f"cannot be separated: {one['reason']}"
        else:
            told += f"{one['peak_kw']} kW at most, {one['expected_error']:.0%} of that missed by day"
        out.print(escape(told), highlight=False, soft_wrap=True)


def _near(rows: list[dict[str, Any]]) -> Table:
    """What plans were made from, an hour ahead."""
    table = Table("an hour ahead", *_NEAR, header_style="bold")
    for row in rows:
        told = ("" if row[name] is None else str(row[name]) for name in _NEAR)
        table.add_row(escape(row["series"]), *told)
    return table


def emerging(
    paths: Annotated[int, typer.Option(help="How many futures are drawn.")] = 100,
    least: Annotated[float, typer.Option(help="Chance below which a limit is not listed.")] = 0.02,
    most: Annotated[int, typer.Option(help="So many are listed.")] = 50,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Limits that may break under the plan in force: how likely, when, what would prevent it, who has it."""
    words = {"paths": paths, "least": least, "most": most}
    answer = Remote(url, token).ask("GET", "/api/emerging", params=words)
    if as_json:
        show(answer, as_json)
        return
    out.print(
        f"plan of {answer['plan_made_at']}, {answer['paths']} futures ({answer['by']}), "
        f"{answer['found']} limits may break",
        highlight=False,
    )
    if answer["unsolved"]:
        out.print(f"{answer['unsolved']:.2%} of their steps have no power flow", highlight=False)
    table = Table(
        "chance", "limit", "element", "from", "beyond", "kW to prevent it", "who", header_style="bold"
    )
    for row in answer["limits"]:
        table.add_row(f"{row['chance']:.0%}", row["kind"], escape(row["element"]), row["start"], *_help(row))
    out.print(table)


def _help(row: dict[str, Any]) -> tuple[str, str, str]:
    """How far beyond, how many kW, and the first of those who have them."""
    unit = "A" if row["kind"] == "thermal" else "pu"
    beyond = "" if row["excess"] is None else f"{row['excess']:g} {unit}"
    need = "not enough" if row["need_kw"] is None else f"{row['need_kw']:g}"
    named = ", ".join(f"{one['id']} {one['move_kw']:+g}" for one in row["helpers"][:3])
    return beyond, need, escape(named)
