"""The study on paper: ``report.json`` for programs, ``report.html`` (self-contained) for people."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import matplotlib as mpl
import numpy as np
from matplotlib.dates import DateFormatter, HourLocator, date2num
from matplotlib.figure import Figure

from gridflock import __version__
from gridflock.market import Bill
from gridflock.runtime import Account, Study
from gridflock.units import PHASES

_GREY, _BLUE, _RED = "#8a9099", "#1f6fb2", "#b3261e"
_DIGITS = 6
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "body{color:#20252b}table{border-collapse:collapse}"
    "td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}"
)
_ROWS = (
    ("peak_kw", "Peak import, 15-min mean", "kW"),
    ("losses_kwh", "Losses", "kWh"),
    ("voltage_violation_node_hours", "Node-hours outside 0.95–1.05 pu", "h"),
    ("overload_branch_hours", "Overloaded-branch hours", "h"),
    ("worst_loading", "Worst branch loading", "of rating"),
    ("largest_reverse_kw", "Largest reverse flow", "kW"),
    ("import_kwh", "Energy imported", "kWh"),
    ("curtailed_kwh", "Sun and wind curtailed", "kWh"),
    ("ev_shortfall_kwh", "EV energy missed at departure", "kWh"),
    ("ev_owed_kwh", "EV energy still owed at midnight", "kWh"),
    ("storage_end_kwh", "Energy in batteries at midnight", "kWh"),
    ("comfort_lost_minutes", "Comfort lost", "min"),
)


def write(study: Study, timezone: str, folder: Path) -> Path:
    """Write both reports; the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    document = as_document(study)
    (folder / "report.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")
    page = folder / "report.html"
    page.write_text(_page(study, document, timezone), "utf-8")
    return page


def as_document(study: Study) -> dict[str, Any]:
    """The study as JSON: equal keys under ``unmanaged`` and ``managed``; only ``timings`` vary."""
    conduct, gain = study.conduct, study.worth
    scenario = study.scenario
    return {
        "gridflock": __version__,
        "scenario": {
            "feeder": scenario.feeder,
            "ders": scenario.ders,
            "day": scenario.day.isoformat(),
            "seed": scenario.seed,
        },
        "unmanaged": _account(study.unmanaged),
        "managed": _account(study.managed),
        "conduct": {
            "orders_sent": conduct.sent,
            **{f"orders_{status}": n for status, n in conduct.outcomes.items()},
            "targets_outside_capability": conduct.outside_capability,
            "largest_unnamed_shortfall_kw": _round(conduct.unnamed_kw),
            "shortfall_kwh_by_cause": {c: _round(v) for c, v in sorted(conduct.short_kwh.items())},
            "held_by_guard_kwh": _round(conduct.held_kwh),
            "refused_readings": conduct.refused_readings,
        },
        "worth": {
            "total": _round(gain.total),
            "bills": {c: _round(v) for c, v in gain.bills.items()},
            "running": {c: _round(v) for c, v in gain.running.items()},
            "stored": _round(gain.stored),
            "owed": _round(gain.owed),
            "missed": _round(gain.missed),
            "programme_payments": {c: _round(v) for c, v in study.payments.items()},
        },
        "timings": {
            "cycle_p50_ms": _round(float(np.percentile(conduct.cycle_ms, 50))),
            "cycle_p99_ms": _round(float(np.percentile(conduct.cycle_ms, 99))),
            **{name: _round(seconds) for name, seconds in study.seconds.items()},
        },
    }


def _account(account: Account) -> dict[str, Any]:
    figures: dict[str, Any] = {name: _round(value) for name, value in account.figures.items()}
    figures["bills"] = {entry.customer: _bill(entry) for entry in account.bills}
    figures["settled_bills"] = {customer: _round(value) for customer, value in account.settled.items()}
    figures["kinds"] = {k: {n: _round(v) for n, v in row.items()} for k, row in account.kinds.items()}
    figures["opendss_max_error_pu"] = None if account.replay is None else float(f"{account.replay:.2e}")
    return figures


def _bill(entry: Bill) -> dict[str, float]:
    return {
        "sites": entry.sites,
        "import_kwh": _round(entry.import_kwh),
        "export_kwh": _round(entry.export_kwh),
        "energy": _round(entry.energy_import),
        "export_credit": _round(entry.export_credit),
        "demand": _round(entry.demand),
        "total": _round(entry.total),
    }


def _round(value: float) -> float:
    return round(float(value), _DIGITS)


def _page(study: Study, document: Mapping[str, Any], timezone: str) -> str:
    before, after = document["unmanaged"], document["managed"]
    rows = "".join(
        f"<tr><td>{html.escape(title)}</td><td>{_figure(before[key])}</td>"
        f"<td>{_figure(after[key])}</td>"
        f"<td>{_change(before[key], after[key])}</td><td>{unit}</td></tr>"
        for key, title, unit in _rounded(before, after)
    )
    scenario = document["scenario"]
    head = (
        f"{scenario['feeder']}, {scenario['ders']} DERs, {scenario['day']}, seed {scenario['seed']}; "
        f"gridflock {__version__}"
    )
    replay = after["opendss_max_error_pu"]
    checked = (
        "OpenDSS was not installed: voltages not checked by a second program."
        if replay is None
        else f"Every step of both days solved again by OpenDSS: largest voltage difference "
        f"{max(replay, before['opendss_max_error_pu'] or 0.0):.1e} pu."
    )
    parts = (
        f"<h1>A day, unmanaged and managed</h1><p>{html.escape(head)}</p>",
        f"<table><tr><th></th><th>unmanaged</th><th>managed</th><th>change</th><th></th></tr>{rows}</table>",
        f"<p>{checked}</p>",
        "<h2>Net load at the feeder head</h2>",
        _svg(_net_load(study, timezone)),
        "<h2>Voltages and loading</h2>",
        _svg(_limits(study, timezone)),
        "<h2>Bills</h2>",
        _bills(before, after, document["worth"]),
        "<h2>Orders</h2>",
        _pairs(document["conduct"]),
        "<h2>Resources</h2>",
        _kinds(before["kinds"], after["kinds"]),
        _cycle(document["timings"]),
    )
    title = "<!doctype html><html lang='en'><meta charset='utf-8'><title>Gridflock: a day</title>"
    return f"{title}<style>{_STYLE}</style>{''.join(parts)}</html>\n"


def _cycle(timings: Mapping[str, float]) -> str:
    median, tail = timings["cycle_p50_ms"], timings["cycle_p99_ms"]
    return f"<p>Ticks took {median:.1f} ms (median), {tail:.1f} ms (p99).</p>"


def _rounded(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [row for row in _ROWS if row[0] in before and row[0] in after]


def _figure(value: float) -> str:
    """Three digits that matter, never as a power of ten."""
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if abs(value) >= 1e-3 else 0
    return f"{value:,.{min(digits, 3)}f}"


def _change(before: float, after: float) -> str:
    if abs(after - before) < 1e-9:
        return ""
    if abs(before) < 0.1 * abs(after):
        return f"{after - before:+,.0f}"
    return f"{(after - before) / abs(before):+.0%}"


def _times(account: Account, timezone: str) -> np.ndarray:
    """Local wall-clock times of the ticks, as matplotlib's date numbers."""
    zone = ZoneInfo(timezone)
    moments = [datetime.fromtimestamp(t, UTC).astimezone(zone) for t in account.series["t_s"]]
    found: np.ndarray = np.asarray(date2num([m.replace(tzinfo=None) for m in moments]))
    return found


def _head_kw(account: Account) -> np.ndarray:
    total: np.ndarray = sum((account.series[f"p_{phase}_kw"] for phase in PHASES), np.zeros(1))
    return total


def _net_load(study: Study, timezone: str) -> Figure:
    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots()
    times = _times(study.managed, timezone)
    axes.plot(times, -_head_kw(study.unmanaged), color=_GREY, lw=1.2, label="unmanaged")
    axes.plot(times, -_head_kw(study.managed), color=_BLUE, lw=1.2, label="managed")
    planned = -np.array(study.conduct.planned_kw[: len(times)])
    axes.plot(times[: len(planned)], planned, color=_BLUE, lw=0.8, ls=":", label="planned")
    axes.axhline(0, color="#20252b", lw=0.6)
    axes.set_ylabel("import, kW")
    return _dressed(figure)


def _limits(study: Study, timezone: str) -> Figure:
    figure = Figure(figsize=(11, 5), layout="constrained")
    top, bottom = figure.subplots(2, sharex=True)
    for account, color, label in ((study.unmanaged, _GREY, "unmanaged"), (study.managed, _BLUE, "managed")):
        times = _times(account, timezone)
        top.plot(times, account.series["v_max_pu"], color=color, lw=0.9, label=label)
        top.plot(times, account.series["v_min_pu"], color=color, lw=0.9)
        bottom.plot(times, account.series["loading"], color=color, lw=0.9, label=label)
    for limit in (0.95, 1.05):
        top.axhline(limit, color=_RED, lw=0.8, ls="--")
    bottom.axhline(1.0, color=_RED, lw=0.8, ls="--")
    top.set_ylabel("lowest and highest voltage, pu")
    bottom.set_ylabel("worst loading, of rating")
    return _dressed(figure)


def _dressed(figure: Figure) -> Figure:
    for axes in figure.axes:
        axes.xaxis.set_major_locator(HourLocator(interval=3))
        axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
        axes.grid(color="#e3e5e8", lw=0.6)
        axes.legend(frameon=False, loc="upper left")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _svg(figure: Figure) -> str:
    """Inline SVG, the same bytes for the same figures."""
    with mpl.rc_context({"svg.hashsalt": "gridflock", "svg.fonttype": "none"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _bills(before: Mapping[str, Any], after: Mapping[str, Any], gain: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{customer}</td><td>{before['bills'][customer]['total']:,.2f}</td>"
        f"<td>{after['bills'][customer]['total']:,.2f}</td><td>{before['settled_bills'][customer]:,.2f}</td>"
        f"<td>{after['settled_bills'][customer]:,.2f}</td></tr>"
        for customer in before["bills"]
    )
    return (
        "<table><tr><th></th><th>unmanaged</th><th>managed</th><th>unmanaged, settled</th>"
        f"<th>managed, settled</th></tr>{rows}</table>"
        "<p>Settled: the bill plus fuel, wear and paused processes, less what the programmes pay for "
        "those that orders caused, with energy owed to vehicles or taken out of batteries at midnight "
        "priced at the class's cheapest hour. "
        f"Worth of management over the day: {gain['total']:,.2f}.</p>"
    )


def _pairs(table: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name.replace('_', ' '))}</td><td>{value:,}</td></tr>"
        for name, value in table.items()
        if not isinstance(value, dict)
    )
    causes = "".join(
        f"<tr><td>shortfall, {html.escape(cause)}</td><td>{value:,.1f} kWh</td></tr>"
        for cause, value in table["shortfall_kwh_by_cause"].items()
    )
    return f"<table>{rows}{causes}</table>"


def _kinds(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{kind.replace('_', ' ')}</td><td>{row['resources']:.0f}</td>"
        f"<td>{row['installed_kw']:,.0f}</td>"
        f"<td>{row['drawn_kwh']:,.0f} / {row['delivered_kwh']:,.0f}</td>"
        f"<td>{after[kind]['drawn_kwh']:,.0f} / {after[kind]['delivered_kwh']:,.0f}</td></tr>"
        for kind, row in before.items()
    )
    return (
        "<table><tr><th></th><th>number</th><th>kW</th><th>unmanaged kWh drawn / delivered</th>"
        f"<th>managed</th></tr>{rows}</table>"
    )
