"""Prices of energy told to a running system: ``gridflock publish``, and its REST route."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, show, stop
from gridflock.runtime import Derms, Scope, plain
from gridflock.units import unix_s

_MOST_ROWS = 10_000


class PricesBody(BaseModel):
    """What energy costs at the head in steps in a row."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    start: str = Field(description="ISO 8601, on a multiple of the step.", max_length=40)
    prices: Annotated[list[float], Field(max_length=_MOST_ROWS)] = Field(description="Money per kWh.")
    step_s: int = Field(3_600, description="900, 1800 or 3600.")
    out: str = Field(
        "", description="When they were published: ISO 8601, or HH:MM of the day before.", max_length=40
    )


def publish(
    file: Annotated[
        Path, typer.Argument(help="CSV with columns time and price (money per kWh), steps in a row.")
    ],
    out: Annotated[str, typer.Option(help="When published: ISO 8601, or HH:MM of the day before; now.")] = "",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Say what energy costs at the head; it holds in place of the tariff from the next tick on."""
    start, prices, step_s = _read(file)
    body = {"start": start, "prices": prices, "step_s": step_s, "out": out}
    show(Remote(url, token).ask("POST", "/api/prices", body=body), as_json)


def publish_route(app: FastAPI, derms: Derms, authority: Callable[..., Scope]) -> None:
    """What energy costs."""
    who = Depends(authority)

    @app.post("/api/prices", tags=["write"])
    def publish(body: PricesBody, scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Prices of energy at the head, in place of the tariff."""
        return plain(derms.publish(scope, body.start, body.prices, body.step_s, body.out))


def _read(file: Path) -> tuple[str, list[float], int]:
    """First moment, prices, and length of the steps of a file, or an end that says what is wrong."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = [row for _, row in zip(range(_MOST_ROWS), csv.DictReader(lines), strict=False)]
        moments = [unix_s(row["time"]) for row in rows]
        prices = [_number(row["price"], line) for line, row in enumerate(rows, 2)]
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise stop(
            f"{file}: {type(error).__name__}: {error} (rule: CSV with columns time and price)"
        ) from error
    gaps = {later - one for one, later in pairwise(moments)}
    if not moments or len(gaps) > 1:
        raise stop(f"{file}: steps of {sorted(gaps)[:5]} s (rule: one step length, one row at least)")
    return rows[0]["time"], prices, gaps.pop() if gaps else 3_600


def _number(text: str | None, line: int) -> float:
    """A price. Raises ``ValueError`` with its line where it is no number, or no finite one."""
    with suppress(TypeError, ValueError):
        found = float(cast("str", text))
        if math.isfinite(found):
            return found
    raise ValueError(f"line {line}: price {text!r} is no finite number")
