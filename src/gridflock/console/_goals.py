"""What is wanted of the plans: ``gridflock goals``, ``gridflock pursue``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, out, show, stop

if TYPE_CHECKING:
    from gridflock.runtime import RequestRejected


def goals(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """What is wanted of the plans, and how far the plan in force got with each goal."""
    _told(Remote(url, token).ask("GET", "/api/goals"), as_json)


def pursue(
    file: Annotated[Path, typer.Argument(help="JSON file of all goals; an empty list takes them back.")],
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """State the goals of the running system anew, all of them."""
    document = stated_goals(file).document
    _told(Remote(url, token).ask("PUT", "/api/goals", body=document), as_json)


def _told(answer: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 - a flag passed on
    if as_json:
        show(answer, as_json)
        return
    out.print(f"stated {answer['stated_at'] or 'never'}, plan of {answer['plan_made_at'] or 'none yet'}")
    if answer["author"]:
        said = f", approved until {answer['approved_until']}" if answer["approved_until"] else ""
        part = "not followed yet" if answer["followed"] is None else f"followed to {answer['followed']:.0%}"
        out.print(f"by {answer['author']}{said}, {part}", highlight=False)
    out.print(goals_table(answer["goals"]))
    for one in answer["waiting"]:
        waits = f"{one['id']} waits for a second person until {one['until']}"
        text = escape(f"{waits}: {one['why']}, {one['moved_kw']:g} kW")
        out.print(text, highlight=False, soft_wrap=True)
    for fault in answer["rejected"]:
        out.print(f"left out: {escape(fault['field'])}: {escape(fault['reason'])}", highlight=False)


def stated_goals(file: Path) -> Any:  # noqa: ANN401 - what settings take, which are loaded late
    """The goals of a file, or an end with every fault."""
    from gridflock.runtime import RequestRejected, read_goals

    try:
        return read_goals(file)
    except RequestRejected as error:
        raise told_faults(error) from error


def told_faults(error: RequestRejected) -> typer.Exit:
    """Say every fault of goals, and end."""
    return stop("\n".join(f"{fault.field}: {fault.reason} (rule: {fault.rule})" for fault in error.faults))


def goals_table(goals: list[dict[str, Any]]) -> Table:
    """Goals by rank: what was asked, what was reached, at which price, and what that costs."""
    table = Table("rank", "goal", "asked", "reached", "price", "cost", header_style="bold")
    for line in sorted(goals, key=lambda line: (line["state"] != "due", line["rank"])):
        rank = str(line["rank"]) if line["state"] == "due" else line["state"]
        reached = "" if line["reached"] is None else f"{figure_of(line['reached'])} {line['unit']}"
        cells = (line["goal"], line["asked"], reached)
        table.add_row(rank, *map(escape, cells), figure_of(line["price"]), figure_of(line["cost"]))
    return table


def figure_of(value: float | None) -> str:
    """A number as the screen shows it; nothing where there is none."""
    return "" if value is None else f"{value:,.4g}" if abs(value) < 100 else f"{value:,.0f}"
