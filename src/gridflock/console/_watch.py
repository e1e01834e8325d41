"""Orders as they happen: ``gridflock delivery`` once, ``gridflock watch`` live."""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, out, show

_EVENTS = 10
_TREND = 60
_BARS = "▁▂▃▄▅▆▇█"
_ANSWERS = ("accepted", "partial", "refused", "expired", "unreachable")
_OFF_SHARE, _OFF_KW = 0.03, 1.0
"""Delivered further than this from asked is marked."""


def delivery(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """What was asked, accepted and is delivered, wish by wish."""
    answer = Remote(url, token).ask("GET", "/api/delivery")
    if as_json:
        show(answer, as_json)
    else:
        out.print(_wishes(answer["wishes"]), _orders(answer["orders"]))


def watch(
    every: Annotated[float, typer.Option(min=0.2, max=600.0, help="Seconds between two looks.")] = 2.0,
    looks: Annotated[int, typer.Option(min=0, help="End after so many; 0 = until Ctrl-C.")] = 0,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """The running system live: head, voltages, wishes asked, accepted and delivered, orders, events.

    With --json one object a look, each on a line.
    """
    remote, trend = Remote(url, token), deque[float](maxlen=_TREND)
    with contextlib.suppress(KeyboardInterrupt), _screen(as_json) as screen:
        look = 0
        while True:
            seen = _seen(remote)
            if screen is None:
                typer.echo(json.dumps(seen))
            else:
                screen.update(_page(seen, trend), refresh=True)
            look += 1
            if look == looks:
                return
            time.sleep(every)


def _screen(as_json: bool) -> contextlib.AbstractContextManager[Live | None]:  # noqa: FBT001 a flag passed on
    return contextlib.nullcontext() if as_json else Live(console=out, auto_refresh=False)


def _seen(remote: Remote) -> dict[str, Any]:
    """All of it as of now."""
    return {
        "status": remote.ask("GET", "/api/status"),
        "delivery": remote.ask("GET", "/api/delivery"),
        "events": remote.ask("GET", "/api/events", params={"limit": _EVENTS}),
    }


def _page(seen: dict[str, Any], trend: deque[float]) -> RenderableType:
    status, told = seen["status"], seen["delivery"]
    if status["head_kw"] is not None:
        trend.append(status["head_kw"])
    return Group(
        Panel(_glance(status, trend), title=escape(status["title"]), title_align="left"),
        _wishes(told["wishes"]),
        _orders(told["orders"]),
        _events(seen["events"]),
    )


def _glance(status: dict[str, Any], trend: deque[float]) -> Text:
    """Head, voltages, limits, mode."""
    line = Text()
    line.append(f"{status['now']}  {status['mode']}  ×{status['speed']:g}\n", style="bold")
    line.append(f"head {_kw(status['head_kw'])} kW {_sparks(trend)}  peak {_kw(status['peak_kw'])} kW")
    if status["import_limit_kw"] is not None:
        line.append(f"  import limit {_kw(status['import_limit_kw'])} kW")
    line.append(f"\n{status['v_min_pu']} to {status['v_max_pu']} pu  ")
    broken = status["violations"]
    line.append(f"{broken} limits broken", style="bold red" if broken else "green")
    line.append(f"  {status['online']:,} of {status['resources']:,} online  ledger {status['seq']:,}")
    return line


def _sparks(trend: deque[float]) -> str:
    """The last powers as a row of bars: more import is higher."""
    least, most = min(trend, default=0.0), max(trend, default=0.0)
    span = most - least or 1.0
    return "".join(_BARS[round((most - kw) / span * (len(_BARS) - 1))] for kw in trend)


def _wishes(wishes: list[dict[str, Any]]) -> Table:
    """Asked, ordered, accepted, delivered."""
    table = Table(header_style="bold", title="Wishes", title_justify="left", expand=True)
    for name in ("wish", "group", "by", "until"):
        table.add_column(name, overflow="fold")
    for name in ("asked kW", "ordered", "accepted", "delivered", "answered"):
        table.add_column(name, justify="right")
    table.add_column("missing", overflow="fold")
    for wish in wishes:
        delivered = Text(_kw(wish["delivered_kw"]), style="yellow" if _off(wish) else "green")
        causes = ", ".join(f"{cause} {_kw(kw)}" for cause, kw in wish["causes"].items())
        table.add_row(
            escape(wish["id"]), escape(wish["group"]), escape(wish["author"]), wish["until"][11:16],
            _kw(wish["asked_kw"]), _kw(wish["given_kw"]), _kw(wish["accepted_kw"]), delivered,
            f"{wish['answered']}/{wish['members']}", escape(causes),
        )  # fmt: skip
    if not wishes:
        table.add_row("nothing is wished for")
    return table


def _off(wish: dict[str, Any]) -> bool:
    """Whether what is delivered is clearly not what was asked."""
    asked, delivered = wish["asked_kw"], wish["delivered_kw"]
    if asked is None or delivered is None:
        return True
    return bool(abs(asked - delivered) > max(_OFF_KW, _OFF_SHARE * abs(asked)))


def _orders(orders: dict[str, Any]) -> Text:
    """What became of orders of late."""
    line = Text(f"orders since {orders['since'][11:16]}: {orders['sent']:,} sent")
    for name in _ANSWERS:
        bad = name in _ANSWERS[2:] and orders[name]
        line.append(f" · {orders[name]:,} {name}", style="yellow" if bad else "")
    line.append(f" · {orders['in_force']:,} in force, {orders['awaited']:,} without an answer")
    return line


def _events(events: list[dict[str, Any]]) -> Table:
    """The newest first."""
    table = Table(header_style="bold", title="Events", title_justify="left", expand=True, show_header=False)
    table.add_column("time", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("text", overflow="fold")
    for event in events:
        alarm = event["kind"] in {"alarm", "refusal"}
        style = "bold red" if alarm else ""
        table.add_row(event["time"][11:19], Text(event["kind"], style=style), escape(event["text"]))
    return table


def _kw(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"
