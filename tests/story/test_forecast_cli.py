"""Stories of forecasts by command: a file is looked at, mended, forecast, and its forecasts are marked."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from gridflock.console._cli import app

START_S = 1_622_505_600
HOURS = 24 * 40


@pytest.fixture(scope="module")
def meters(tmp_path_factory):
    """Forty days of two loads and a roof, hourly; the roof's clock is right, one load is stuck for a day."""
    rng = np.random.default_rng(4)
    hour = np.arange(HOURS)
    day = 1.0 + 0.15 * rng.normal(size=HOURS // 24).repeat(24)
    shop = -(20 + 12 * np.exp(-(((hour % 24 - 13) / 4.0) ** 2)) * day + rng.normal(size=HOURS))
    school = -(10 + 8 * np.exp(-(((hour % 24 - 10) / 3.0) ** 2)) * day + 0.5 * rng.normal(size=HOURS))
    school[24 * 20 : 24 * 21] = school[24 * 20]
    sun = np.maximum(np.sin((hour % 24 - 4.0) / 16.0 * np.pi), 0.0) * (hour % 24 > 4) * (hour % 24 < 20)
    roof = 30 * sun * rng.uniform(0.3, 1.0, HOURS // 24).repeat(24)
    path = tmp_path_factory.mktemp("meters") / "meters.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["t_s", "shop_kw", "school_kw", "roof_kw"])
        for k in range(HOURS):
            writer.writerow([START_S + 3600 * k, *(f"{x[k]:.3f}" for x in (shop, school, roof))])
    return path


def told(*words):
    """What a command answers."""
    return CliRunner().invoke(app, ["forecast", *map(str, words)])


HERE = ("--kind", "roof=solar", "--lat", "52.1", "--lon", "5.2", "--timezone", "UTC")


def test_a_file_is_looked_at_and_mended(meters, tmp_path):
    """``check`` names the day that stood still and writes the file without it; a clean file ends with 0."""
    answer = told("check", meters, *HERE, "--json", "--repaired", tmp_path / "mended.csv")
    assert answer.exit_code == 2, answer.output
    found = json.loads(answer.stdout)
    assert ("school", "stuck") in {(f["series"], f["rule"]) for f in found["findings"]}
    stuck = next(f for f in found["findings"] if f["rule"] == "stuck")
    assert stuck["mended"]
    lines = list(csv.reader((tmp_path / "mended.csv").read_text().splitlines()))
    assert lines[0] == ["time", "shop", "school", "roof"]
    assert len(lines) == HOURS + 1
    assert lines[1 + 24 * 20 + 12][2] == ""
    assert "stuck" in told("check", meters, *HERE).output


def test_a_file_is_forecast_and_marked(meters, tmp_path):
    """``run`` gives nine quantiles of every series, none crossing, the roof dark at night, and pictures."""
    answer = told(
        "run",
        meters,
        *HERE,
        "--json",
        "--hours",
        24,
        "--plot",
        tmp_path / "fans.png",
        "--out",
        tmp_path / "q.csv",
    )
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert len(found["starts"]) == 24
    for said in found["series"].values():
        assert (np.diff(said["value_kw"], axis=0) >= 0).all()
        assert said["unit"] == "kW"
    roof = np.array(found["series"]["roof"]["value_kw"])
    assert (roof[:, :2] == 0).all()
    assert np.array(found["series"]["shop"]["value_kw"]).max() < 0
    assert found["series"]["shop"]["by"] in {"last week", "learned"}
    assert (tmp_path / "fans.png").stat().st_size > 10_000
    assert len((tmp_path / "q.csv").read_text().splitlines()) == 25
    marks = told(
        "report", meters, *HERE, "--json", "--hours", 24, "--days", 14, "--plot", tmp_path / "rel.svg"
    )
    assert marks.exit_code == 0, marks.output
    rows = json.loads(marks.stdout)["standing"]
    assert {(r["series"], r["method"]) for r in rows} == {
        (s, m) for s in ("shop", "school", "roof") for m in ("last week", "learned")
    }
    assert sum(r["champion"] for r in rows) == 3
    assert all(0 <= r["coverage"] <= 1 for r in rows)
    assert "<svg" in (tmp_path / "rel.svg").read_text()


def test_a_price_is_told_in_its_own_unit(tmp_path):
    """No figure of a price has kW in its name: forecasts and marks say per MWh, as the file does."""
    rng = np.random.default_rng(6)
    hour = np.arange(24 * 26)
    spot = 60 + 25 * np.sin((hour % 24 - 8) / 24 * 2 * np.pi) + rng.normal(0, 4, len(hour))
    path = tmp_path / "market.csv"
    rows = [f"{START_S + 3600 * k},{price:.2f}" for k, price in enumerate(spot)]
    path.write_text("\n".join(["t_s,spot_eur_mwh", *rows]) + "\n")
    words = (path, "--kind", "spot_eur_mwh=price", "--hours", 24)
    answer = told("run", *words, "--json")
    assert answer.exit_code == 0, answer.output
    said = json.loads(answer.stdout)["series"]["spot_eur_mwh"]
    assert said["unit"] == "per MWh"
    assert np.array(said["price"]).shape == (9, 24)
    marks = told("report", *words, "--days", 7, "--json")
    assert marks.exit_code == 0, marks.output
    (row, *_) = json.loads(marks.stdout)["standing"]
    assert row["unit"] == "per MWh"
    assert row["crps_price"] == pytest.approx(2 * row["pinball_price"], abs=2e-6)
    assert not [name for name in (*said, *row) if "kw" in name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "nothing.csv"), "no such file"),
        (("check", "METERS", "--kind", "roof=sunny"), "kind: 'sunny'"),
        (("check", "METERS", "--kind", "barn=load"), "no series 'barn'"),
        (("run", "METERS", "--kind", "roof=solar"), "--lat and --lon"),
        (("run", "METERS", "--lat", "5"), "both or none"),
        (("run", "METERS", "--timezone", "Mars/Olympus"), "IANA"),
    ],
)
def test_what_cannot_be_done_is_said(meters, words, said):
    """Wrong files, kinds, places and zones: one line with the rule, exit code 1, no traceback."""
    answer = told(*(meters if word == "METERS" else word for word in words))
    assert answer.exit_code == 1
    assert said in answer.output
    assert len(answer.output.strip().splitlines()) <= 2
