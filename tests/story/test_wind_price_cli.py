"""Stories of wind and prices by command: a park and a price are forecast from a file."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from gridflock.console._cli import app

START_S = 1_767_225_600
HOURS = 24 * 40
KINDS = ("--kind", "park=wind", "--kind", "spot=price", "--timezone", "UTC")


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Forty days of a wind park, its wind, and a price that stands still at night and spikes once."""
    rng = np.random.default_rng(0)
    calm = np.zeros(HOURS)
    for k in range(1, HOURS):
        calm[k] = 0.96 * calm[k - 1] + 0.28 * rng.standard_normal()
    wind = 8.0 * np.exp(0.45 * calm)
    park = 2_000.0 * np.clip((wind - 3.0) / 9.0, 0.0, 1.0) ** 2
    hour = np.arange(HOURS) % 24
    spot = 0.05 + 0.04 * np.exp(-0.5 * ((hour - 18) / 2.0) ** 2) + rng.normal(0, 0.01, HOURS)
    spot[hour < 9] = 0.031
    spot[500] = 3.0
    path = tmp_path_factory.mktemp("market") / "market.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["t_s", "park_kw", "spot", "wind_m_s"])
        for k in range(HOURS):
            writer.writerow([START_S + 3600 * k, f"{park[k]:.2f}", f"{spot[k]:.5f}", f"{wind[k]:.2f}"])
    return path


def test_a_spike_and_a_still_night_are_no_faults_of_a_price(market):
    """The gate leaves prices as they are: what would be a fault of a load is none of a price."""
    answer = CliRunner().invoke(app, ["forecast", "check", str(market), *KINDS, "--json"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["findings"] == []
    as_load = CliRunner().invoke(app, ["forecast", "check", str(market), "--kind", "park=wind", "--json"])
    assert {f["series"] for f in json.loads(as_load.stdout)["findings"]} == {"spot"}


def test_a_park_and_a_price_are_forecast_each_by_its_class(market):
    """Wind between 0 and the largest output, prices in the file's unit, quantiles in order."""
    answer = CliRunner().invoke(app, ["forecast", "run", str(market), *KINDS, "--hours", "24", "--json"])
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)["series"]
    park, spot = np.array(found["park"]["value_kw"]), np.array(found["spot"]["price"])
    assert park.shape == spot.shape == (9, 24)
    assert (park >= 0).all()
    assert park.max() <= 2_000.0
    assert (np.diff(park, axis=0) >= 0).all()
    assert (np.diff(spot, axis=0) >= 0).all()
    assert found["spot"]["unit"] != found["park"]["unit"] == "kW"
    assert 0.0 < np.median(spot) < 0.2
