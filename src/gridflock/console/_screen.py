"""What commands that ask a server share: its address, the token, and answers on the screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Url = Annotated[str | None, typer.Option("--url", help="Server; default GRIDFLOCK_URL or the local one.")]
Token = Annotated[str | None, typer.Option("--token", help="Bearer token; default GRIDFLOCK_TOKEN.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
out = Console()


def show(answer: Any, as_json: bool, rows: list[dict[str, Any]] | None = None) -> None:  # noqa: FBT001, ANN401 - JSON, and a flag passed on
    """JSON, or a table of rows, or name-value lines."""
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
        return
    if isinstance(answer, dict):
        for name, value in answer.items():
            if (
                not isinstance(value, list | dict)
                or not value
                or (isinstance(value, dict) and len(value) <= 8)
            ):
                out.print(f"[dim]{name:>16}[/dim]  {escape(str(value))}", highlight=False)
    if rows:
        table = Table(header_style="bold")
        for name in rows[0]:
            table.add_column(name)
        for row in rows:
            table.add_row(*("" if value is None else escape(str(value)) for value in row.values()))
        out.print(table)


def stop(message: str, code: int = 1) -> typer.Exit:
    """Say what is wrong and end: with 1 where the input is at fault, with 2 where there is no full answer."""
    typer.echo(message, err=True)
    return typer.Exit(code)


@contextmanager
def file_faults() -> Iterator[None]:
    """Faults of files and folders as one line and exit code 1."""
    from gridflock.record import RecordError
    from gridflock.runtime import FileRejected
    from gridflock.sim import UnknownFeeder

    try:
        yield
    except FileRejected as error:
        fault = error.rejected
        place = f" line {fault.row}" if fault.row else ""
        raise stop(f"{fault.field}{place}: {fault.reason}") from error
    except UnknownFeeder as error:
        raise stop(f"feeder: {error.args[0]} (rule: a packed feeder)") from error
    except (RecordError, OSError, ValueError) as error:
        raise stop(f"data: {error}") from error
