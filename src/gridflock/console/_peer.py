"""The border to a system above, by hand: ``gridflock standing``, ``gridflock direct``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, show, stop
from gridflock.units import iso

_LARGEST_BYTES = 1_048_576


def standing(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """What this system tells one above: bounds it keeps, its power, what it can do and means to do."""
    _told(Remote(url, token).ask("GET", "/api/standing"), as_json)


def direct(
    file: Annotated[Path, typer.Argument(help="JSON file of a directive.")],
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Say to a running system, as one above it, between which powers it has to stay."""
    _told(Remote(url, token).ask("POST", "/api/directive", body=_document(file)), as_json)


def powers(text: str, field: str) -> tuple[float, float]:
    """The lowest and highest power of ``LOW:HIGH``, or an end that says what it has to be."""
    low, _, high = text.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        found = math.nan, math.nan
    if not (math.isfinite(found[0]) and found[0] <= found[1] < math.inf):
        raise stop(f"{field}: {text!r} is not LOW:HIGH in kW (rule: two numbers, the lower one first)")
    return found


def _told(answer: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 - a flag passed on
    kept, able_kw = answer["kept"], answer["able_kw"]
    lines = {
        "name": answer["child"],
        "at": iso(answer["at_s"]),
        "p_kw": _kw(answer["p_kw"]),
        "able_kw": f"{able_kw[0]:.1f} to {able_kw[1]:.1f}",
        "keeps": "no directive yet" if answer["epoch"] < 0 else f"{answer['number']} of {answer['epoch']}",
        "default_kw": f"{kept['default_kw'][0]:g} to {kept['default_kw'][1]:g}",
    }
    edges = kept["edges_s"][:-1]
    steps = zip(edges, kept["lo_kw"], kept["hi_kw"], answer["plan_kw"], strict=True)
    names = "lo_kw", "hi_kw", "plan_kw"
    rows = [{"from": iso(t)} | dict(zip(names, map(_kw, powers), strict=True)) for t, *powers in steps]
    show(answer if as_json else lines, as_json, rows=rows)


def _kw(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _document(file: Path) -> dict[str, Any]:
    """The object in a file, or an end that says why there is none."""
    try:
        if file.stat().st_size > _LARGEST_BYTES:
            raise stop(f"directive: {file} is larger than {_LARGEST_BYTES} bytes")
        document = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise stop(f"directive: {file} is no JSON file: {error}") from error
    if not isinstance(document, dict):
        raise stop(f"directive: {file} holds no object (rule: as docs/hierarchy.md says)")
    return document
