"""The doctor on the command line: a file with faults, a folder that lived, a simulated day."""

import csv
import json
from threading import Event

import pytest
from typer.testing import CliRunner

from gridflock.console._cli import app
from gridflock.fleet.doctor import RULES
from gridflock.runtime import Settings, rehearse
from gridflock.sim import Scenario


def called(*words):
    """Exit code and JSON answer of ``gridflock doctor``."""
    done = CliRunner().invoke(app, ["doctor", *map(str, words), "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_a_file_with_faults(tmp_path):
    """Each finding names rule, resources, reason and remedy; rows that are none are told beside them."""
    file = tmp_path / "fleet.csv"
    rows = [
        {"id": "sun", "kind": "pv_rooftop", "bus": "150", "phases": "a", "p_max_kw": "9", "s_max_kva": "5"},
        {"id": "cell", "kind": "battery_home", "bus": "nowhere", "phases": "a", "p_max_kw": "5"},
        {"id": "odd", "kind": "toaster", "bus": "150", "phases": "a"},
    ]
    with file.open("w", newline="") as target:
        writer = csv.DictWriter(target, ["id", "kind", "bus", "phases", "p_max_kw", "s_max_kva"])
        writer.writeheader()
        writer.writerows(rows)
    code, answer = called(file, "--feeder", "ieee123")
    assert code == 1
    assert answer["resources"] == 2
    assert [fault["id"] for fault in answer["rejected"]] == ["odd"]
    assert {(found["rule"], *found["resources"]) for found in answer["findings"]} == {
        ("power-above-rating", "sun"),
        ("bus-unknown", "cell"),
        ("rating-missing", "cell"),
        ("energy-missing", "cell"),
    }
    assert all(found["remedy"] == RULES[found["rule"]].remedy for found in answer["findings"])
    told = CliRunner().invoke(app, ["doctor", str(file)])
    assert "error    power-above-rating (s_max_kva): sun\n" in told.stdout
    assert "2 resources, 3 findings; faults in rows that were refused: 1\n" in told.stdout
    assert "not looked at, since nobody has a transformer: transformer-missing\n" in told.stdout


def test_a_folder_that_lived(tmp_path):
    """A data folder is examined with its history: who was silent all day is named, and phases are judged."""
    scenario = Scenario(ders=60, offline_day_share=0.1, phase_error_share=0.0)
    derms, world = rehearse(tmp_path, scenario, Settings(tick_s=300))
    derms.run(Event(), world.start_s + 8 * 3_600)
    derms.close()
    code, answer = called("--data", tmp_path)
    assert code == 0
    assert answer["resources"] == len(world.ids)
    assert "never-heard" in {found["rule"] for found in answer["findings"]}
    assert answer["phases_judged"] > 0


def test_a_simulated_day():
    """The demo finds meters on wrong phases, and nothing that cannot be right."""
    code, answer = called("--demo", "--ders", 150, "--seed", 2)
    assert code == 0
    assert {"wrong-phase", "never-heard"} <= {found["rule"] for found in answer["findings"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Is it running?"),
        (["x.csv", "--demo"], "give one of FILE, --data and --demo"),
        (["x.csv"], "no such file"),
        (["x.csv", "--feeder", "moon"], "moon"),
        (["--data", "nothing-there"], "nothing-there"),
    ],
)
def test_what_cannot_be_examined_is_said(words, said, tmp_path, monkeypatch):
    """A wrong call, file, feeder or folder ends with one line and exit code 1."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["doctor", *words])
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.exception is None or isinstance(done.exception, SystemExit)
