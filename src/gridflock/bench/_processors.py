"""Our lanes compiled for older processors than this one, and in plain loops, each in its own process.

The compiler reads its target once, when it is loaded, and keeps compiled code in a cache: a process and
a cache folder for each. Naming an old processor is not enough, since the compiler would go on using
whatever instructions it finds here: the list of extra instructions is emptied as well.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from gridflock.bench._case import Case
from gridflock.grid import ControlState
from gridflock.record import load_network, save_network

NATIVE, PLAIN = "native", "plain_loops"
TARGETS = {NATIVE: "", "x86_64_v3": "x86-64-v3", "x86_64_v2": "x86-64-v2", PLAIN: ""}
"""Name in the figures -> what ``NUMBA_CPU_NAME`` says."""
CHECKED = 256
"""Scenarios whose voltages each process checks against the float64 truth of this one."""
CHILD = "gridflock.bench._child"
MOST_S = 1800.0
SETTINGS = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")
_NETWORK, _ASKED = "feeder.gfnet", "asked.npz"


class ProcessorFailed(RuntimeError):  # noqa: N818 reads as what is wrong
    """Code for a processor could not be made or run here."""


def on_processors(case: Case, folder: Path) -> dict[str, float | int | str]:
    """Time the batch compiled for each target.

    Args:
        case: what is solved.
        folder: a temporary one, for what is handed over and for the compiler's caches.

    Returns:
        For this processor, x86-64-v3, x86-64-v2 and the plain loops on this processor: microseconds per
        flow, as ``us_per_flow`` of the whole bench; the largest error, pu; and how many times as long as
        for this processor.

    Raises:
        ProcessorFailed: not an x86-64 processor, or older than what is asked for.
    """
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        raise ProcessorFailed(f"processors: {platform.machine()} (rule: an x86-64 machine)")
    _hand_over(case, folder)
    told = {name: _told(name, cpu, folder) for name, cpu in TARGETS.items()}
    native = told[NATIVE]["us_per_flow"]
    found: dict[str, float | int | str] = {}
    for name, figures in told.items():
        found[f"us_per_flow_{name}"] = figures["us_per_flow"]
        found[f"max_error_{name}_pu"] = figures["max_error_pu"]
        if name != NATIVE:
            found[f"times_native_{name}"] = round(figures["us_per_flow"] / native, 2)
    return found


def _told(name: str, cpu: str, folder: Path) -> dict[str, float]:
    """What a process of its own measures."""
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    settings = dict(zip(SETTINGS, (cpu, ""), strict=True)) if cpu else {}
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter with a module of ours and a folder we made
            [sys.executable, "-m", CHILD, str(folder), name],
            env={**kept, **settings, "NUMBA_CACHE_DIR": str(folder / f"cache-{name}")},
            capture_output=True,
            text=True,
            timeout=MOST_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProcessorFailed(f"processors: {name}: no answer within {MOST_S:g} s") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ProcessorFailed(f"processors: {name}: exit code {done.returncode}: {last}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _hand_over(case: Case, folder: Path) -> None:
    save_network(folder / _NETWORK, case.network)
    steps = case.multipliers.shape[1]
    checked = np.linspace(0, steps - 1, min(CHECKED, steps)).astype(np.int64)
    truth = replace(case, multipliers=case.multipliers[:, checked]).truth()
    np.savez(
        folder / _ASKED,
        taps=case.state.taps,
        cap_on=case.state.cap_on,
        pending_since_s=case.state.pending_since_s,
        shape=case.shape,
        multipliers=case.multipliers,
        level=case.level,
        checked=checked,
        truth=truth,
    )


def handed_over(folder: Path) -> tuple[Case, np.ndarray, np.ndarray]:
    """The case, the scenarios to be checked, and their (k, n) magnitudes, pu."""
    with np.load(folder / _ASKED) as asked:
        state = ControlState(asked["taps"], asked["cap_on"], asked["pending_since_s"])
        network = load_network(folder / _NETWORK)
        case = Case(network, state, asked["shape"], asked["multipliers"], float(asked["level"]))
        return case, asked["checked"], asked["truth"]
