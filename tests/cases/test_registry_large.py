"""Ten million rows with one bad in a hundred: good rows land, each fault is counted, memory is bounded."""

import json
import subprocess
import sys

import pytest

from gridflock.runtime._registry import FileRejected, read_file

ROWS = 10_000_000
_WRITE = 100_000
_CHILD = """
import json, resource, sys
from pathlib import Path
from gridflock.runtime._registry import read_file

told = []
found = read_file(Path(sys.argv[1]), None, lambda rows, share: told.append((rows, share)))
registry = found.registry
own = sum(column.nbytes for column in registry.columns.values()) + registry.family.nbytes
own += sum(map(sys.getsizeof, registry.ids)) + sys.getsizeof(registry.ids)
print(json.dumps({
    "rows": found.rows,
    "good": len(registry.ids),
    "listed": len([fault for fault in found.rejected if fault.row]),
    "reported": len(found.rejected),
    "faults": sum(found.faults.values()),
    "told": sum(fault.count for fault in found.rejected),
    "ascending": told == sorted(told) and told[-1] == (found.rows, 1.0),
    "beyond_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 - own / 2**30,
}))
"""


def _lines(start):
    """Narrow rows, every hundredth with a fault of its own value."""
    for k in range(start, start + _WRITE):
        kind = f"toaster {k}" if k % 200 == 7 else ("pv_rooftop", "ev_v1g", "thermostat")[k % 3]
        power = f"x{k}" if k % 200 == 107 else str(k % 90 / 10)
        yield f"der-{k:08d},{kind},bus-{k // 50},{'abc'[k % 3]},agg-{k % 12},{power}\n"


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_ten_million_rows_stay_within_three_gib(tmp_path):
    """The peak beyond the registry's own columns and ids stays below 3 GiB, and no fault is lost."""
    file = tmp_path / "fleet.csv"
    with file.open("w") as handle:
        handle.write("id,kind,bus,phases,provider,p_max_kw\n")
        for start in range(0, ROWS, _WRITE):
            handle.writelines(_lines(start))
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    bad = ROWS // 100
    assert (answer["rows"], answer["good"]) == (ROWS, ROWS - bad)
    assert (answer["listed"], answer["reported"], answer["ascending"]) == (10_000, 10_002, True)
    assert answer["faults"] == answer["told"] == bad
    assert answer["beyond_gib"] < 3.0


def test_names_that_nobody_has_cost_little(tmp_path):
    """Neither a header of very many names nor another name in every row is kept or compared pair by pair."""
    header = ["id", "kind", "bus", "phases", *(f"c{k}" for k in range(100_000))]
    wide = tmp_path / "wide.csv"
    wide.write_text(",".join(header) + "\na,load,1,a\n")
    assert read_file(wide, None).given == frozenset(header[:4])
    odd = tmp_path / "odd.jsonl"
    odd.write_text("".join(f'{{"id": "a", "no {k}": 1}}\n' for k in range(5_000)))
    found = read_file(odd, None)
    assert (found.given, found.rows) == (frozenset({"id"}), 5_000)


def test_a_file_without_a_header_and_a_line_without_an_end_are_refused(tmp_path, monkeypatch):
    """Neither is a registry: the first has no columns, the second could not be held in memory."""
    monkeypatch.setattr("gridflock.runtime._registry._LONGEST_LINE", 1_000)
    empty, endless, lines = tmp_path / "empty.csv", tmp_path / "endless.csv", tmp_path / "endless.jsonl"
    empty.write_text("")
    endless.write_text("id,kind\n" + "x" * 5_000)
    lines.write_text('{"id": "a"}\n' + " " * 5_000)
    for file, reason in ((empty, "no header"), (endless, "a line of more than"), (lines, "a line of more")):
        with pytest.raises(FileRejected, match=reason):
            read_file(file, None)
