"""A life of ``gridflock above``: what was agreed, the time it goes by, its rounds, and the screen."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gridflock.console._peer import powers
from gridflock.console._screen import out, stop
from gridflock.dispatch.hierarchy import Known
from gridflock.field.peer import Peer, Unanswered
from gridflock.model import Directive, Standing
from gridflock.record import RecordError, open_record
from gridflock.runtime import RequestRejected, Users, plain
from gridflock.runtime._above import LIFE_S, Above, AboveView, Below, BelowView
from gridflock.runtime._middle import Middle

_OTHERS = 0o077
_LARGEST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command was told.

    Attributes:
        child: NAME=URL of each system below.
        default: NAME=LOW:HIGH of each, kW.
        rating: the same of some.
        token_file: lines NAME=TOKEN.
        limit_kw: lowest and highest injection of all together.
        reserve_kw: of both limits kept back.
        data: folder of the ledger.
        every_s: between two rounds.
        skew_s: by how much clocks may differ.
        follow_clock: take the time from those below.
        middle: its own name and default of LOW:HIGH where a system above stands; None at the top.
        port: where that one reaches it.
    """

    child: Sequence[str]
    default: Sequence[str]
    rating: Sequence[str]
    token_file: Path
    limit_kw: tuple[float, float]
    reserve_kw: float
    data: Path
    every_s: float
    skew_s: int
    follow_clock: bool
    middle: tuple[str, str] | None = None
    port: int = 8090


def begun(asked: Asked) -> Above:
    """A life that begins, or an end with what is wrong with it."""
    addresses, middle = dict(_pair(text, "child") for text in asked.child), _middle(asked)
    tokens, agreed = _tokens(asked.token_file), _known(list(addresses), asked)
    lacking = addresses.keys() - tokens.keys()
    if lacking:
        raise stop(
            f"token-file: no token for {', '.join(sorted(lacking))} (rule: a line NAME=TOKEN for each)"
        )
    with contextlib.ExitStack() as undone:
        try:
            peers: list[Below] = [Peer(name, url, tokens[name]) for name, url in addresses.items()]
            clock = _Clock(peers) if asked.follow_clock else None
            if clock is not None:
                peers = [_Timed(peer, clock) for peer in peers]
            asked.data.mkdir(parents=True, exist_ok=True)
            record = open_record(asked.data)
            undone.callback(record.close)
            words = peers, agreed, asked.limit_kw, record, clock or (lambda: int(time.time()))
            life_s = max(LIFE_S, round(3 * asked.every_s))
            if middle is None:
                life = Above(*words, life_s=life_s, skew_s=asked.skew_s, reserve_kw=asked.reserve_kw)
            else:
                name, default_kw = middle
                life = Middle(
                    *words, name=name, default_kw=default_kw, life_s=life_s, skew_s=asked.skew_s,
                    reserve_kw=asked.reserve_kw,
                )  # fmt: skip
        except RequestRejected as error:
            raise stop("\n".join(f"{f.field}: {f.reason} (rule: {f.rule})" for f in error.faults)) from error
        except (RecordError, OSError, ValueError) as error:
            raise stop(f"above: {error}") from error
        undone.pop_all()
    return life


def live(life: Above, asked: Asked, rounds: int, *, as_json: bool) -> None:
    """Round after round, until it is enough; one in the middle can be reached meanwhile."""
    reached: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if isinstance(life, Middle):
        from gridflock.console._middle import served

        reached = served(life, Users(asked.data), asked.port)
    screen: contextlib.AbstractContextManager[Live | None]
    screen = contextlib.nullcontext() if as_json else Live(console=out, auto_refresh=False)
    try:
        with reached, contextlib.suppress(KeyboardInterrupt), screen as page:
            for _ in _paced(asked.every_s, rounds):
                look = life.round()
                if page is None:
                    typer.echo(json.dumps(plain(look)))
                else:
                    page.update(_table(look), refresh=True)
    except RecordError as error:
        raise stop(f"record: {error}; nothing is said that is not recorded") from error
    finally:
        life.close()


def _paced(every: float, rounds: int) -> Iterator[int]:
    """A number for each round, at a steady pace."""
    begun, k = time.monotonic(), 0
    while True:
        yield k
        k += 1
        if k == rounds:
            return
        time.sleep(max(0.0, begun + k * every - time.monotonic()))


# ---- what is given -----------------------------------------------------------------------------------


def _pair(text: str, field: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip() or not value.strip():
        raise stop(f"{field}: {text!r} is not NAME=VALUE")
    return name.strip(), value.strip()


def _middle(asked: Asked) -> tuple[str, tuple[float, float]] | None:
    """Its own name and default; None for one that nobody stands above."""
    if asked.middle is None:
        return None
    name, default = asked.middle
    if not name.strip() or not default:
        raise stop("name: a system in the middle has a name and a default (rule: --name and --default-kw)")
    return name, powers(default, "default-kw")


def _range(text: str, field: str) -> tuple[str, tuple[float, float]]:
    name, value = _pair(text, field)
    return name, powers(value, field)


def _known(names: Sequence[str], asked: Asked) -> list[Known]:
    """What was agreed with each."""
    defaults = dict(_range(text, "default") for text in asked.default)
    ratings = dict(_range(text, "rating") for text in asked.rating)
    lacking, strangers = set(names) - defaults.keys(), (defaults.keys() | ratings.keys()) - set(names)
    if lacking:
        raise stop(f"default: none for {', '.join(sorted(lacking))} (rule: one for each child, as agreed)")
    if strangers:
        raise stop(f"child: {', '.join(sorted(strangers))} (rule: only names given by --child)")
    return [Known(name, ratings.get(name, asked.limit_kw), defaults[name]) for name in names]


def _tokens(file: Path) -> dict[str, str]:
    """Tokens by name, from a file that is its owner's alone."""
    try:
        stat = file.stat()
        if stat.st_mode & _OTHERS:
            raise stop(f"token-file: others may read {file} (rule: chmod 600)")
        if stat.st_size > _LARGEST_BYTES:
            raise stop(f"token-file: {file} is larger than {_LARGEST_BYTES} bytes")
        lines = file.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise stop(f"token-file: {file} cannot be read: {error}") from error
    return dict(_pair(line, "token-file") for line in lines if line.strip())


# ---- time --------------------------------------------------------------------------------------------


class _Clock:
    """The time of those below: the newest that one of them told, and what has gone by since."""

    def __init__(self, peers: Sequence[Below]) -> None:
        self._told = 0, time.monotonic()
        reasons = []
        for peer in peers:
            try:
                self.told(peer.standing().at_s)
            except Unanswered as error:
                reasons.append(str(error))
        if not self._told[0]:
            raise stop("follow-clock: nobody tells the time: " + "; ".join(reasons))

    def told(self, at_s: int) -> None:
        """One of them has told its time."""
        if at_s >= self():
            self._told = at_s, time.monotonic()

    def __call__(self) -> int:
        """Unix seconds there."""
        at_s, seen = self._told
        return at_s + int(time.monotonic() - seen)


class _Timed:
    """A way to a system below that tells its time on."""

    def __init__(self, peer: Below, clock: _Clock) -> None:
        self.name, self._peer, self._clock = peer.name, peer, clock

    def standing(self) -> Standing:
        """What it tells of itself."""
        found = self._peer.standing()
        self._clock.told(found.at_s)
        return found

    def direct(self, directive: Directive) -> None:
        """Hand a directive over."""
        self._peer.direct(directive)


# ---- shown -------------------------------------------------------------------------------------------


def _table(look: AboveView) -> Table:
    """Those below with what they do and may do."""
    low, high = look.limit_kw
    title = f"{look.now}  limit {_kw(low)} to {_kw(high)} kW together"
    if look.allowed_kw is not None:
        title += f", {_kw(look.allowed_kw[0])} to {_kw(look.allowed_kw[1])} kW allowed from above"
    table = Table(title=title, title_justify="left", header_style="bold", expand=True, show_footer=True)
    whole = Text(_kw(look.p_kw), style="bold red" if _outside(look.p_kw, low, high) else "bold green")
    may = f"{_kw(look.may_kw[0])} to {_kw(look.may_kw[1])}"
    states = [word for word in ("deposed" if look.deposed else "", look.halted) if word]
    for name, footer in (
        ("system", Text("together")), ("kW", whole), ("told kW", Text()), ("may come to kW", Text(may)),
        ("keeps it", Text()), ("silent s", Text()), ("trouble", Text("; ".join(states), style="bold red")),
    ):  # fmt: skip
        table.add_column(name, footer=footer, justify="left" if name in {"system", "trouble"} else "right")
    for one in look.children:
        table.add_row(*_cells(one))
    return table


def _cells(one: BelowView) -> list[str | Text]:
    told = "nothing yet" if one.lo_kw is None else f"{_kw(one.lo_kw)} to {_kw(one.hi_kw)}"
    style = "yellow" if one.lo_kw is not None and _outside(one.p_kw, one.lo_kw, one.hi_kw) else ""
    return [
        escape(one.name),
        Text(_kw(one.p_kw), style=style),
        told,
        f"{_kw(one.may_lo_kw)} to {_kw(one.may_hi_kw)}",
        Text("yes", style="green") if one.settled else Text("not yet", style="yellow"),
        "" if one.silent_s is None else str(one.silent_s),
        Text(one.trouble, style="red"),
    ]


def _outside(p_kw: float | None, low: float | None, high: float | None) -> bool:
    return p_kw is None or (low is not None and p_kw < low) or (high is not None and p_kw > high)


def _kw(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"
