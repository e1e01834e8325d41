"""The score card and emerging limits on the terminal, and which weather a command line means."""

import json

import pytest
from typer.testing import CliRunner

from gridflock.console import _foresight
from gridflock.console._cli import app
from gridflock.console._weather import weather_of
from gridflock.field.weather import FileWeather, HttpWeather, NoWeather
from gridflock.sim import Scenario

MARK = {
    "series": "outside", "method": "learned", "champion": True, "days": 21, "mae_kw": 24.4, "nmae": 0.02,
    "pinball_kw": 10.3, "crps_kw": 20.6, "crps_ratio": 0.89, "coverage": 0.91,
}  # fmt: skip
CARD = {
    "learnt_at": "2026-07-15T07:00:00Z", "known_days": 56, "needed_days": 21,
    "weather_until": "2026-07-17T18:00:00Z", "models": {"sun": 8}, "failed": ["wind: ValueError: [b]calm"],
    "marks": [MARK, MARK | {"method": "habits", "champion": False}],
    "drift": [{"series": "outside", "rule": "narrow", "method": "learned", "value": 0.5, "since": "July"}],
    "near": [
        {"series": "outside", "days": 3, "crps_kw": 2.5, "crps_ratio": 0.7125, "coverage": 0.8, "drift": None}
    ],
    "faults": [
        {"series": "s4", "rule": "dead", "start": "a", "until": "b", "seen": "no output", "repair": "mask"}
    ],
    "hidden": [
        {"id": "m1", "peak_kw": 4.5, "expected_error": 0.08, "correlation": 0.9, "reason": ""},
        {"id": "m2", "peak_kw": None, "expected_error": None, "correlation": 0.6, "reason": "[b]wind"},
    ],
    "hidden_looked": 90,
}  # fmt: skip
LIMIT = {
    "kind": "thermal", "element": "l[115]", "chance": 0.42, "start": "2026-07-15T18:00:00Z", "excess": 12.5,
    "need_kw": None, "by_step": [0.1], "helpers": [{"id": "bat-1", "move_kw": 5.0, "relief": 2.0}],
}  # fmt: skip
EMERGING = {
    "plan_made_at": "2026-07-15T15:00:00Z", "t": [], "paths": 100, "by": "past days", "unsolved": 0.01,
    "limits": [LIMIT, LIMIT | {"kind": "voltage high", "need_kw": 3.0, "excess": None}], "found": 2,
}  # fmt: skip


ASKED = []


class Remote:
    """A server that knows two answers."""

    def __init__(self, url, token):
        del url, token

    def ask(self, method, path, params=None):
        """One of them."""
        ASKED.append((method, path, params))
        return {"/api/card": CARD, "/api/emerging": EMERGING}[path]


@pytest.fixture
def told(monkeypatch):
    """What a command prints."""
    monkeypatch.setattr(_foresight, "Remote", Remote)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        found = CliRunner().invoke(app, list(words))
        assert found.exit_code == 0, found.output
        return found.output

    return run


def test_the_card_on_the_terminal(told):
    """Champions alone or every method; what failed, drift and faults of data by name; JSON as it came."""
    text = told("card")
    assert "from 56 days: sun (8)" in text
    assert "0.89" in text
    assert "habits" not in text
    assert "wind: ValueError: [b]calm" in text
    assert "narrow" in text
    assert "no output" in text
    assert "m1: sun behind the meter that nobody has registered: 4.5 kW at most, 8% of that" in text
    assert "cannot be separated: [b]wind" in text
    assert "0.7125" in text
    assert "habits" in told("card", "--all", "--days", "14")
    assert ASKED[-1] == ("GET", "/api/card", {"days": 14})
    assert json.loads(told("card", "--json")) == CARD


def test_emerging_limits_on_the_terminal(told):
    """Chance, element, when, how much would prevent it and who has it; where nobody has enough, that."""
    text = told("emerging", "--paths", "200")
    assert ASKED[-1][2]["paths"] == 200
    assert "past days" in text
    assert "42%" in text
    assert "l[115]" in text
    assert "12.5 A" in text
    assert "not enough" in text
    assert "bat-1 +5" in text
    assert json.loads(told("emerging", "--json")) == EMERGING


def test_which_weather_is_meant(tmp_path, capsys):
    """Nothing, none, a folder, settings of a service; what is at fault is said and ends the command."""
    scenario = Scenario()
    assert weather_of("", scenario) is None
    assert isinstance(weather_of("none", scenario), NoWeather)
    assert isinstance(weather_of(str(tmp_path), scenario), FileWeather)
    sound, wrong, torn = (tmp_path / f"{name}.toml" for name in ("sound", "wrong", "torn"))
    sound.write_text('url = "https://weather.example/{lat}/{lon}"\n[columns]\ntemp_c = "a.b"\n')
    wrong.write_text('url = "http://weather.example"\ncolour = 3\n')
    torn.write_text("url =")
    assert isinstance(weather_of(str(sound), scenario), HttpWeather)
    for path, said in ((wrong, "colour"), (torn, "torn.toml"), (tmp_path / "gone", "no such file")):
        with pytest.raises(Exception, match="1"):
            weather_of(str(path), scenario)
        assert said in capsys.readouterr().err
