"""A fleet of a million: sums, splits, switching, images, readings, import and queries."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from gridflock.bench._million import NOON_S, Million, million
from gridflock.fleet import Fleet, Groups, Image, capability
from gridflock.fleet.groups import ByRow
from gridflock.fleet.registry import select
from gridflock.fleet.sharing import Limits, fair
from gridflock.fleet.sharing.switching import Stack

LEVELS = ("premise", "transformer", "feeder", "substation", "root")
QUANTITIES = ("p_kw", "q_kvar", "p_avail_kw", "e_kwh", "e_target_kwh")
REPEATS = 9
STEPS = 30
STEP_S = 4
BATCH = 1_000_000
EQUAL = 1e-9
"""Sums of float32 columns in float64 differ by less, relative to the sum of magnitudes."""
MET_KW = 2e-5
QUERY = "kind in (ev_v1g, evse) and p_min_kw < -3 and not provider = utility and phases has a"
Float = NDArray[np.float64]
Figures = dict[str, float | int | bool | str]


class ImportFailed(RuntimeError):  # noqa: N818 - what happened, told whole
    """The import's own process did not end well; its last words."""


def fleet(ders: int = 1_000_000, seed: int = 0) -> Mapping[str, float | int | bool | str]:
    """Measure a synthetic fleet, one thread each, processor time, the least of several runs.

    Args:
        ders: how many resources.
        seed: of the fleet.

    Returns:
        ``aggregate_ms`` of five quantities up five levels, the columns just made; the same once more for
        columns that lie there (``aggregate_again_ms``), and by the clock beside the fastest of five ways of
        polars on its own threads, as many runs each, and NumPy, all on equal sums;
        ``split_ms`` of one order shared fairly among all, ``split_folded_ms`` with the limits folded
        first; ``stack_ms`` of a step of the on/off stack, median; ``image_ms`` with every column changed;
        ``ingest_per_s`` on one core; ``import_s`` and ``import_gib`` of a CSV file in a process of its
        own; ``query_ms``; ``hot_gib``; and ``counts``: whether every answer was right.

    Raises:
        ImportFailed: the command that imports did not end well.
    """
    world = million(ders, seed)
    state = world.fleet()
    image = state.image(NOON_S)
    found: Figures = {"ders": ders}
    wrong: list[str] = []
    for part in (
        _sums(world, state, image, wrong),
        _splits(image, wrong),
        {"stack_ms": _stack(ders, seed, wrong)},
        _readings(world, wrong),
        _query(state, wrong),
        _import(world, wrong),
    ):
        found |= part
    return found | {"hot_gib": round(state.hot_gib(), 3), "counts": not wrong, "why_not": "; ".join(wrong)}


def _least(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """Least processor time of some runs, ms."""
    taken = []
    for _ in range(repeats):
        begun = time.process_time()
        action()
        taken.append(time.process_time() - begun)
    return round(1e3 * min(taken), 3)


def _clocked(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """Least time by the clock, for those who use threads, ms."""
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        action()
        taken.append(time.perf_counter() - begun)
    return round(1e3 * min(taken), 3)


def _sums(world: Million, state: Fleet, image: Image, wrong: list[str]) -> Figures:
    """Five quantities up five levels."""
    groups = Groups(state)
    codes = [world.up[0]]
    for parent in world.up[1:]:
        codes.append(parent[codes[-1]])
    _build(groups, codes)
    columns = [np.nan_to_num(getattr(image, name)).astype(np.float32) for name in QUANTITIES]
    sums = groups.aggregate(columns)
    by_numpy = _by_numpy(world, columns)
    scale = max(float(np.abs(column).sum(dtype=np.float64)) for column in columns)
    at = np.cumsum([0, *(len(level[0]) for level in by_numpy)])
    ours = [sums[:, groups.at(f"{name}/0") :][:, : at[k + 1] - at[k]] for k, name in enumerate(LEVELS)]
    if max(float(np.abs(a - b).max()) for a, b in zip(ours, by_numpy, strict=True)) > EQUAL * scale:
        wrong.append("sums differ from those of NumPy")
    polars_ms = _by_polars(codes, columns, by_numpy, scale, wrong)
    clocked_ms = _clocked(lambda: groups.aggregate(columns))
    return {
        "aggregate_ms": _fresh(groups, columns),
        "aggregate_again_ms": _least(lambda: groups.aggregate(columns)),
        "aggregate_clock_ms": clocked_ms,
        "polars_ms": polars_ms,
        "numpy_ms": _least(lambda: _by_numpy(world, columns), 3),
        "ratio_vs_polars": round(polars_ms / clocked_ms, 1),
        "groups": len(groups.ids),
    }


def _fresh(groups: Groups, columns: list[NDArray[np.float32]]) -> float:
    """Least processor time for columns that were just made, as every image brings them, ms."""
    taken = []
    for _ in range(REPEATS):
        own = [column.copy() for column in columns]
        begun = time.process_time()
        groups.aggregate(own)
        taken.append(time.process_time() - begun)
    return round(1e3 * min(taken), 3)


def _build(groups: Groups, codes: list[NDArray[np.int32]]) -> None:
    above: tuple[str, ...] = ()
    for name, code in reversed(list(zip(LEVELS, codes, strict=True))):
        labels = tuple(map(str, range(int(code.max()) + 1)))
        assert groups.add_level(name, ByRow(labels, code), parents=above) == ()
        above = (name,)


def _by_numpy(world: Million, columns: list[NDArray[np.float32]]) -> list[Float]:
    """Level upon level by ``bincount``."""
    held, levels = np.stack([column.astype(np.float64) for column in columns]), []
    for parent in world.up:
        size = int(parent.max()) + 1
        held = np.stack([np.bincount(parent, row, size) for row in held])
        levels.append(held)
    return levels


def _by_polars(
    codes: list[NDArray[np.int32]],
    columns: list[NDArray[np.float32]],
    truth: list[Float],
    scale: float,
    wrong: list[str],
) -> float:
    """The fastest of polars' ways, by the clock: each level from the rows or from the level below.

    Both as they stand and lazily in its streaming engine, from the rows also sorted by place beforehand.
    """
    import polars as pl  # noqa: PLC0415 - a rival, not a dependency

    data: dict[str, Any] = dict(zip(LEVELS, codes, strict=True))
    data |= {f"q{k}": column.astype(np.float64) for k, column in enumerate(columns)}
    frame = pl.DataFrame(data)
    ordered = frame.sort("premise").with_columns(pl.col(name).set_sorted() for name in LEVELS)
    total = [pl.col(f"q{k}").sum() for k in range(len(columns))]

    def upwards(of: Any) -> list[Any]:  # noqa: ANN401 - a frame, or a lazy one
        kept, held = [], of
        for k, name in enumerate(LEVELS):
            first = [pl.col(above).first() for above in LEVELS[k + 1 :]]
            held = held.group_by(name).agg(total + first)
            kept.append(held)
        return kept

    ways: list[Callable[[], list[pl.DataFrame]]] = [
        lambda: [frame.group_by(name).agg(total) for name in LEVELS],
        lambda: upwards(frame),
        lambda: upwards(ordered),
        lambda: pl.collect_all(upwards(frame.lazy()), engine="streaming"),
        lambda: pl.collect_all(upwards(ordered.lazy()), engine="streaming"),
    ]
    for way in ways:
        last = way()[-1].select([f"q{k}" for k in range(len(columns))]).to_numpy()[0]
        if np.abs(last - truth[-1][:, 0]).max() > EQUAL * scale:
            wrong.append("sums of polars differ from those of NumPy")
    return min(_clocked(way) for way in ways)


def _splits(image: Image, wrong: list[str]) -> Figures:
    """One order to all, quadratic-fair."""
    can = capability(image)
    lo, hi = can.p_lo_kw, can.p_hi_kw
    wish = np.clip(np.nan_to_num(image.p_kw).astype(np.float64), lo, hi)
    weight = np.maximum(hi - lo, 1e-3)
    target = float(0.5 * wish.sum() + 0.5 * hi.sum())
    shares = fair(target, lo, hi, weight, wish)
    inside = bool(((shares >= lo) & (shares <= hi)).all())
    if abs(float(shares.sum()) - target) > max(MET_KW, 1e-12 * abs(target)) or not inside:
        wrong.append("a share outside its limits, or their sum off the target")
    limits = Limits(
        p_min_kw=image.columns["p_min_kw"],
        p_max_kw=image.columns["p_max_kw"],
        p_avail_kw=image.p_avail_kw,
        now_kw=image.p_kw,
        ramp_kw_s=image.columns["ramp_kw_s"],
    )

    def folded() -> None:
        bounds = limits.fold(STEP_S)
        fair(target, bounds.lo_kw, bounds.hi_kw, weight, wish)

    folded()
    return {
        "split_ms": _least(lambda: fair(target, lo, hi, weight, wish)),
        "split_folded_ms": _least(folded),
    }


def _stack(ders: int, seed: int, wrong: list[str]) -> float:
    """A step of the on/off stack under a target that swings by a tenth; median, ms."""
    rng = np.random.default_rng((seed, 4))
    p_on = -rng.uniform(1.0, 6.0, ders)
    on = (rng.random(ders) < 0.4).astype(np.uint8)
    shortest, full = np.full(ders, 180.0), rng.uniform(0.02, 0.98, ders).astype(np.float32)
    stack = Stack.start(p_on, shortest, shortest, on, 0, rng.uniform(0.0, 180.0, ders))
    base, taken = stack.p_kw, []
    for step in range(STEPS):
        target = base * (1.0 + 0.1 * np.sin(0.35 * step))
        seen = stack.on.astype(np.int8)
        begun = time.process_time()
        done = stack.step(float(target), full, seen, (step + 1) * STEP_S)
        taken.append(time.process_time() - begun)
        if abs(done.p_kw - target) > 6.0:
            wrong.append(f"step {step} of the stack misses its target")
        stack = done.stack
    return round(1e3 * float(np.median(taken[2:])), 3)


def _readings(world: Million, wrong: list[str]) -> Figures:
    """Shuffled news for all, then the image with every column changed."""
    state = world.fleet()
    state.image(NOON_S)
    ingest, images = [], []
    for k in range(REPEATS):
        now_s = NOON_S + 60 * (k + 1)
        batch = world.readings(now_s, min(BATCH, 2 * world.n), seed=k)
        begun = time.process_time()
        refused = state.ingest(batch, now_s)
        ingest.append(time.process_time() - begun)
        if refused:
            wrong.append("news were refused")
        begun = time.process_time()
        image = state.image(now_s)
        images.append(time.process_time() - begun)
        if int(image.heard_s.max()) != now_s:
            wrong.append("an image without the news")
    size = min(BATCH, 2 * world.n)
    return {
        "ingest_per_s": round(size / min(ingest[1:])),
        "image_ms": round(1e3 * float(np.median(images)), 3),
    }


def _query(state: Fleet, wrong: list[str]) -> Figures:
    rows = select(state, QUERY)
    columns = state.columns
    there = np.isin(state.columns["kind"][rows], (5, 8)).all() and (columns["p_min_kw"][rows] < -3).all()
    if not there or not len(rows):
        wrong.append("the query finds others than asked for")
    return {"query_ms": _least(lambda: select(state, QUERY)), "query_rows": len(rows)}


def _import(world: Million, wrong: list[str]) -> Figures:
    """A CSV file through the command that users call, into a data folder of its own."""
    with tempfile.TemporaryDirectory(prefix="gridflock-") as folder:
        file = Path(folder) / "fleet.csv"
        _write(world.table(), file)
        command = [
            sys.executable,
            "-c",
            "from gridflock.console import main; main()",
            "fleet",
            "import",
            str(file),
        ]
        command += ["--data", str(Path(folder) / "data"), "--json"]
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command, on our own file
        taken = time.perf_counter() - begun
        if done.returncode != 0:
            raise ImportFailed(done.stderr.strip()[-500:] or f"exit code {done.returncode}")
        added = int(json.loads(done.stdout)["added"])
    if added != world.n:
        wrong.append(f"{added} of {world.n} rows imported")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"import_s": round(taken, 2), "import_gib": round(peak, 3)}


def _write(table: Mapping[str, NDArray[Any]], file: Path) -> None:
    names = list(table)
    with duckdb.connect() as connection:
        connection.register("fleet", dict(table))
        connection.execute(f"COPY (SELECT {', '.join(names)} FROM fleet) TO '{file}' (HEADER)")  # noqa: S608 - our own names
