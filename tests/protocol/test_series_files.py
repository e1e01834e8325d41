"""Files of series: what they hold comes out in our units and on our clock, what they do not is named."""

from __future__ import annotations

import gzip

import duckdb
import numpy as np
import pytest

from gridflock.field.series import Unreadable, read_series


def written(tmp_path, text, name="load.csv"):
    """A file with a text in it."""
    path = tmp_path / name
    path.write_text(text)
    return path


def test_units_and_clocks_come_out_as_ours(tmp_path):
    """Powers become kW by the name's ending; offsets, Z and milliseconds become unix seconds."""
    text = (
        "time,north_mw,south_kw,roof_w,temp_c\n"
        "2021-01-01T00:00:00Z,1.5,2,500,-3\n"
        "2021-01-01 02:30+02:00,1,,0,-2.5\n"
    )
    found = read_series(written(tmp_path, text))
    assert found.t_s.tolist() == [1609459200.0, 1609461000.0]
    assert found.columns["north"].tolist() == [1500.0, 1000.0]
    assert found.columns["roof"].tolist() == [0.5, 0.0]
    assert found.columns["south"][0] == 2.0
    assert np.isnan(found.columns["south"][1])
    assert found.columns["temp_c"].tolist() == [-3.0, -2.5]
    assert not found.rejected
    same = read_series(written(tmp_path, "t,a\n1609459200000,1\n1609459200,2\n"))
    assert same.t_s.tolist() == [1609459200.0] * 2


def test_a_local_clock_is_turned_into_utc(tmp_path):
    """Stamps without offset are on the clock that was named, summer time included."""
    text = "start,a\n2021-01-15 12:00,1\n2021-07-15 12:00,2\n2021-10-31 02:30,3\n2021-10-31 03:30,4\n"
    found = read_series(written(tmp_path, text), "Europe/Amsterdam")
    noon = np.array([1610708400.0, 1626343200.0])
    assert found.t_s[:2].tolist() == noon.tolist()
    assert found.t_s[3] - found.t_s[2] == 7200.0


def test_cells_that_are_no_numbers_are_named_by_row(tmp_path):
    """Words among numbers and stamps that are none: NaN, counted, with column and first line."""
    text = (
        "time,a,b\n"
        "2021-01-01T00:00:00Z,1,NaN\n"
        "yesterday,2,3\n"
        "2021-01-01T01:00:00Z,x,3\n"
        "2021-01-01T02:00:00Z,y,\n"
    )
    found = read_series(written(tmp_path, text))
    assert [(r.field, r.row, r.count) for r in found.rejected] == [("time", 3, 1), ("a", 4, 2)]
    assert found.rejected[0].ids == ("yesterday",)
    assert np.isnan(found.t_s[1])
    assert np.isnan(found.columns["a"][2:]).all()


def test_parquet_and_compressed_files_hold_the_same(tmp_path):
    """The same table as Parquet, CSV and compressed CSV gives the same columns."""
    text = "time,a_kw\n2021-01-01 00:00:00,1.25\n2021-01-01 00:15:00,-2\n"
    plain = read_series(written(tmp_path, text))
    (tmp_path / "load.csv.gz").write_bytes(gzip.compress(text.encode()))
    duckdb.sql(
        "COPY (SELECT * FROM (VALUES (TIMESTAMP '2021-01-01 00:00:00', 1.25), "
        "(TIMESTAMP '2021-01-01 00:15:00', -2.0)) AS v(time, a_kw)) "
        f"TO '{tmp_path / 'load.parquet'}' (FORMAT parquet)"
    )
    for name in ("load.csv.gz", "load.parquet"):
        other = read_series(tmp_path / name)
        np.testing.assert_array_equal(other.t_s, plain.t_s)
        np.testing.assert_array_equal(other.columns["a"], plain.columns["a"])


@pytest.mark.parametrize(
    ("text", "name", "field"),
    [
        ("a,b\n1,2\n", "load.csv", "header"),
        ("time\n2021-01-01\n", "load.csv", "header"),
        ("time,a_kw,a_mw\n2021-01-01,1,2\n", "load.csv", "a_mw"),
        ("PAR1 this is none", "load.parquet", "file"),
        ("time,a\n", "load.xlsx", "file"),
    ],
)
def test_files_that_are_none_are_refused_in_words(tmp_path, text, name, field):
    """No stamps, no series, doubled names, broken or foreign files: refused whole, with what is wrong."""
    with pytest.raises(Unreadable) as refused:
        read_series(written(tmp_path, text, name))
    assert refused.value.rejected.field == field
    with pytest.raises(Unreadable, match="no such file"):
        read_series(tmp_path / "nothing.csv")
