"""The story of bad files: the fault is named by series and rule, and a forecast comes all the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from typer.testing import CliRunner

from gridflock.console._cli import app

START_S = 1_746_057_600
DAYS = 16
N = 24 * DAYS
HERE = ("--kind", "roof=solar", "--lat", "51", "--lon", "0")
NOTHING = float("nan")


def clean():
    """Stamps, a shop and a roof, hourly, the sun at noon UTC."""
    rng = np.random.default_rng(0)
    t_s = START_S + 3600 * np.arange(N)
    hour = np.arange(N) % 24
    shop = -3.0 - 1.5 * np.sin((hour - 14) / 24 * 2 * np.pi) + rng.normal(0, 0.3, N)
    sun = np.maximum(0.0, np.sin((hour - 5) / 14 * np.pi)) * ((hour > 5) & (hour < 19))
    roof = 5 * sun * rng.uniform(0.3, 1.0, DAYS).repeat(24)
    return t_s, {"shop": shop, "roof": roof}


def gap(t_s, columns):
    """Four days of silence, until now."""
    columns["shop"][-96:] = NOTHING
    return t_s, columns


def rows_missing(t_s, columns):
    """Four days without a row."""
    keep = np.r_[0:100, 196:N]
    return t_s[keep], {name: column[keep] for name, column in columns.items()}


def shuffled(t_s, columns):
    """In no order."""
    order = np.random.default_rng(1).permutation(N)
    return t_s[order], {name: column[order] for name, column in columns.items()}


def doubled(t_s, columns):
    """Some rows again, with other values."""
    rows = np.r_[np.arange(N), 40:90]
    t_s, columns = t_s[rows], {name: column[rows] for name, column in columns.items()}
    columns["shop"][N:] *= 1.3
    return t_s, columns


def zeros(t_s, columns):
    """A meter that is dead."""
    columns["shop"][:] = 0.0
    return t_s, columns


def one_number(t_s, columns):
    """A meter that shows one number."""
    columns["shop"][:] = -2.5
    return t_s, columns


def elsewhere(t_s, columns):
    """The clock of a zone nine hours to the east."""
    return t_s + 9 * 3600, columns


def watts(t_s, columns):
    """Three days in another unit."""
    columns["shop"][100:172] *= 1000
    return t_s, columns


def three_points(t_s, columns):
    """Three rows."""
    return t_s[:3], {name: column[:3] for name, column in columns.items()}


def young(t_s, columns):
    """Of one series three values."""
    columns["shop"][:-3] = NOTHING
    return t_s, columns


def no_features(t_s, columns):
    """Weather without a value."""
    return t_s, columns | {"temp_c": np.full(len(t_s), NOTHING), "ghi_w_m2": np.full(len(t_s), NOTHING)}


def wild_features(t_s, columns):
    """Weather that is not finite now and then."""
    return t_s, columns | {"temp_c": np.where(np.arange(len(t_s)) % 50, 12.0, np.inf)}


def nothing(t_s, columns):
    """No value at all in one series."""
    columns["shop"][:] = NOTHING
    return t_s, columns


def written(path, t_s, columns):
    """A file of these."""
    lines = [",".join(["time", *columns])]
    for k, moment in enumerate(t_s.tolist()):
        stamp = datetime.fromtimestamp(moment, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        cells = ("" if np.isnan(column[k]) else f"{column[k]:.4f}" for column in columns.values())
        lines.append(",".join([stamp, *cells]))
    path.write_text("\n".join(lines) + "\n")
    return path


def told(command, path, *words):
    """What a command answers: its exit code, and JSON."""
    found = CliRunner().invoke(app, ["forecast", command, str(path), *HERE, *words, "--json"])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, json.loads(
        found.stdout.strip().splitlines()[-1] if command == "run" else found.stdout
    )


def width(ahead, name):
    """Mean of the 80 % band."""
    value = np.asarray(ahead["series"][name]["value_kw"])
    return float((value[-1] - value[0]).mean())


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """What is said of the clean file."""
    path = written(tmp_path_factory.mktemp("clean") / "meters.csv", *clean())
    assert told("check", path)[0] == 0
    return told("run", path)[1]


@pytest.mark.parametrize(
    ("fault", "series", "rule", "wider"),
    [
        (gap, "shop", "gap", True),
        (rows_missing, "roof", "gap", False),
        (shuffled, "shop", "disorder", False),
        (doubled, "shop", "duplicate", False),
        (zeros, "shop", "stuck", True),
        (one_number, "shop", "stuck", True),
        (elsewhere, "roof", "clock shift", False),
        (watts, "shop", "unit", False),
        (three_points, "shop", "short", True),
        (young, "shop", "short", True),
        (no_features, "temp_c", "empty", False),
        (no_features, "ghi_w_m2", "empty", False),
        (wild_features, "temp_c", "outlier", False),
        (nothing, "shop", "empty", True),
    ],
)
def test_the_fault_is_named_and_a_forecast_comes(tmp_path, usual, fault, series, rule, wider):
    """``check`` and ``run`` list it by series and rule; finite quantiles come, wider where less is known."""
    path = written(tmp_path / "meters.csv", *fault(*clean()))
    code, found = told("check", path)
    assert code == 2
    assert (series, rule) in {(f["series"], f["rule"]) for f in found["findings"]}
    code, ahead = told("run", path)
    assert code == 0
    assert (series, rule) in {(f["series"], f["rule"]) for f in ahead["faults"]}
    assert set(ahead["series"]) == {"shop", "roof"}
    for said in ahead["series"].values():
        value = np.asarray(said["value_kw"], dtype=float)
        assert value.shape == (9, 36)
        assert np.isfinite(value).all()
        assert (np.diff(value, axis=0) >= 0).all()
    if wider:
        assert width(ahead, "shop") > 1.2 * width(usual, "shop")
    elif series == "shop":
        assert width(ahead, "shop") < 2.0 * width(usual, "shop")


@pytest.mark.parametrize("text", ["time,shop\n", "time,shop\n31.12.2024 00:00,-3\n31.12.2024 01:00,-4\n"])
def test_a_file_without_a_step_is_refused_with_its_faults(tmp_path, text):
    """No row, or no stamp that is one: ``check`` does not pass it in silence, ``run`` says what is wrong."""
    path = tmp_path / "meters.csv"
    path.write_text(text)
    checked = CliRunner().invoke(app, ["forecast", "check", str(path), "--json"])
    assert checked.exit_code == 2
    (fault,) = json.loads(checked.stdout)["findings"]
    assert (fault["series"], fault["rule"]) == ("shop", "off grid" if "31.12" in text else "empty")
    run = CliRunner().invoke(app, ["forecast", "run", str(path)])
    assert run.exit_code == 1
    wanted = (
        "time: not a moment (rule: unix seconds or ISO 8601), 2 cells" if "31.12" in text else "shop: empty"
    )
    assert wanted in " ".join(run.output.split())


def test_many_that_never_move_do_not_make_each_other_certain(tmp_path):
    """Dead meters take the size of the live ones, a load's never above 0; prices may stand still."""
    t_s, columns = clean()
    columns = {"dead": np.zeros(N), "off": np.zeros(N), "shop": columns["shop"], "spot": np.full(N, 40.0)}
    path = written(tmp_path / "meters.csv", t_s, columns)
    found = CliRunner().invoke(app, ["forecast", "run", str(path), "--kind", "spot=price", "--json"])
    ahead = json.loads(found.stdout.strip().splitlines()[-1])
    assert {name: said["by"] for name, said in ahead["series"].items()} == {
        "dead": "standing",
        "off": "standing",
        "shop": "habit",
        "spot": "habit",
    }
    for name in ("dead", "off"):
        value = np.asarray(ahead["series"][name]["value_kw"])
        assert (value <= 0).all()
        assert value[0].mean() < -2.0
