"""Every implementation of ``ports.Record`` keeps this contract."""

import contextlib
import sqlite3
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from gridflock import record as record_package
from gridflock.model import Entry
from gridflock.ports import Record
from gridflock.record import (
    RecordBroken,
    RecordBusy,
    RecordError,
    RecordFull,
    RecordReadOnly,
    SqliteRecord,
    open_record,
)

OPENERS = {"sqlite": open_record}
"""A further back end is one more line here."""

DAY_S = 86_400
EPOCH_S = 20_000 * DAY_S


@pytest.fixture(params=sorted(OPENERS))
def opener(request):
    """Opens a record of one implementation."""
    return OPENERS[request.param]


@pytest.fixture
def record(opener, tmp_path):
    """An empty record."""
    with contextlib.closing(opener(tmp_path / "record", flush_rows=1_000)) as opened:
        yield opened


def tick(k, n=5):
    """An entry with columns."""
    columns = {"p_kw": np.linspace(-k, k, n, dtype=np.float32), "order_id": np.arange(k, k + n)}
    return Entry("tick", EPOCH_S + 60 * k, {"k": k}, columns)


def image(start_s, n, step_s=60, **more):
    """History rows, three resources per moment."""
    columns = {
        "t_s": np.repeat(start_s + step_s * np.arange(n), 3),
        "row": np.tile(np.arange(3, dtype=np.int32), n),
        "p_kw": np.linspace(0, 1, 3 * n, dtype=np.float32),
    }
    return {**columns, **{name: make(3 * n) for name, make in more.items()}}


def assert_same_columns(found, expected):
    """Same names, dtypes and values, NaN equal to NaN."""
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


# --- ledger -----------------------------------------------------------------------------------------


def test_an_implementation_is_the_port(record):
    """The seven verbs are there under the port's own types."""
    typed: Record = record
    verbs = [name for name in vars(Record) if not name.startswith("_")]
    assert len(verbs) == 7
    assert all(callable(getattr(typed, verb)) for verb in verbs)


def test_entries_come_back_as_they_were(record):
    """Kind, time, head and columns of what was appended are read back in order, numbered from 1."""
    given = [tick(1), Entry("proposal", EPOCH_S, {"why": "Straße \U0001f600", "p_kw": -2.5, "x": [None, {}]})]
    assert record.append(given) == 2
    assert record.append([tick(2)]) == 3
    found = list(record.entries())
    assert [entry.seq for entry in found] == [1, 2, 3]
    for entry, expected in zip(found, [*given, tick(2)], strict=True):
        assert (entry.kind, entry.time_s, dict(entry.head)) == (
            expected.kind,
            expected.time_s,
            dict(expected.head),
        )
        assert_same_columns(entry.columns, expected.columns)


def test_appending_nothing_changes_nothing(record):
    """An empty append names the newest entry and adds none."""
    assert record.append([]) == 0
    record.append([tick(1)])
    assert record.append([]) == 1
    assert record.verify().entries == 1


def test_entries_can_be_asked_by_place_and_kind(record):
    """``after`` and ``kinds`` select, the order stays that of the ledger, unknown kinds are empty."""
    kinds = ["tick", "proposal", "outcomes", "tick", "proposal", "change"]
    record.append([Entry(kind, EPOCH_S, {}) for kind in kinds])
    assert [entry.seq for entry in record.entries(after=4)] == [5, 6]
    assert [entry.seq for entry in record.entries(kinds={"proposal", "tick"})] == [1, 2, 4, 5]
    assert [entry.seq for entry in record.entries(after=2, kinds=["proposal"])] == [5]
    assert list(record.entries(kinds=["nothing"])) == []
    assert list(record.entries(kinds=[])) == []
    assert list(record.entries(after=99)) == []


def test_entries_end_with_the_newest_at_the_call(record):
    """A reader that appends for every entry it reads comes to an end."""
    record.append([tick(k) for k in range(1_200)])
    for entry in record.entries():
        if entry.seq <= 10:
            record.append([tick(entry.seq)])
    assert record.verify().entries == 1_210


def test_a_forgotten_reader_blocks_nobody(record, opener, tmp_path):
    """An iterator left half way neither blocks appends nor closing and opening again."""
    record.append([tick(k) for k in range(2_000)])
    forgotten = record.entries()
    next(forgotten)
    assert record.append([tick(1)]) == 2_001
    record.close()
    with contextlib.closing(opener(tmp_path / "record")) as again:
        assert again.append([tick(2)]) == 2_002
    with pytest.raises(RecordError):
        list(forgotten)


def test_the_chain_survives_closing(record, opener, tmp_path):
    """A record opened again continues the numbers and the chain."""
    record.append([tick(1), tick(2)])
    head = record.verify().head
    record.close()
    record.close()
    with contextlib.closing(opener(tmp_path / "record")) as again:
        assert again.verify().head == head
        assert again.append([tick(3)]) == 3
        assert again.verify().ok
        assert again.verify().head != head


def test_equal_entries_give_equal_chains(opener, tmp_path):
    """The head of the chain depends on the entries alone, not on how they were batched."""
    heads = set()
    for name, batches in {
        "one": [[tick(1), tick(2), tick(3)]],
        "three": [[tick(1)], [tick(2)], [tick(3)]],
    }.items():
        with contextlib.closing(opener(tmp_path / name)) as record:
            for batch in batches:
                record.append(batch)
            heads.add(record.verify().head)
    assert len(heads) == 1


@pytest.mark.parametrize(
    "entry",
    [
        Entry("", 0, {}),
        Entry("x" * 65, 0, {}),
        Entry("tick", 0, {"p_kw": float("nan")}),
        Entry("tick", 0, {"p_lo_kw": float("-inf")}),
        Entry("tick", 0, {"when": object()}),
        Entry("tick", 0, {}, {"text": np.array(["a"])}),
        Entry("tick", 0, {}, {"matrix": np.zeros((2, 2))}),
        Entry("tick", 0, {}, {"z": np.zeros(2, complex)}),
        Entry("tick", 2**63, {}),
    ],
)
def test_an_entry_that_cannot_be_kept_is_refused_whole(record, entry):
    """A caller's bug is a ValueError, and the good entries of the same call are not stored either."""
    with pytest.raises(ValueError):  # noqa: PT011 # each case has its own words
        record.append([tick(1), entry])
    assert record.verify().entries == 0
    assert record.append([tick(1)]) == 1


def test_eight_threads_append_and_read_at_once(record):
    """Concurrent appends get distinct numbers, keep their own order, and the chain verifies."""
    numbers = [[] for _ in range(8)]
    problems = []

    def work(me):
        try:
            for k in range(60):
                last = record.append(
                    [Entry("tick", EPOCH_S + k, {"me": me, "k": k}, {"x": np.arange(me)})] * 2
                )
                numbers[me].append(last)
                if k % 20 == me % 20:
                    seen = [entry.seq for entry in record.entries()]
                    assert seen == list(range(1, len(seen) + 1))
                    assert len(seen) >= last
                    assert record.verify().ok
        except BaseException as problem:  # noqa: BLE001 # handed to the test's own thread
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert all(row == sorted(row) for row in numbers)
    assert len({number for row in numbers for number in row}) == 8 * 60
    verdict = record.verify()
    assert (verdict.ok, verdict.entries) == (True, 8 * 60 * 2)
    order = [(entry.head["me"], entry.head["k"]) for entry in record.entries()]
    assert all([k for me, k in order if me == who] == sorted(2 * list(range(60))) for who in range(8))


def test_a_second_writer_is_told_the_folder(record, opener, tmp_path):
    """One writer per folder, also inside one process; a reader beside it is welcome."""
    with pytest.raises(RecordBusy, match=str(tmp_path / "record")):
        opener(tmp_path / "record")
    record.append([tick(1)])
    with contextlib.closing(opener(tmp_path / "record", read_only=True)) as reader:
        assert reader.verify().entries == 1
        record.append([tick(2)])
        assert [entry.seq for entry in reader.entries()] == [1, 2]
        assert reader.verify().head == record.verify().head


def test_a_reader_writes_nothing(record, opener, tmp_path):
    """Every writing verb of a read-only record is refused, and a missing folder is not made."""
    record.append([tick(1)])
    with contextlib.closing(opener(tmp_path / "record", read_only=True)) as reader:
        for write in (
            lambda: reader.append([tick(2)]),
            lambda: reader.write_history("image", image(EPOCH_S, 1)),
            lambda: reader.snapshot("image", b"x"),
        ):
            with pytest.raises(RecordReadOnly):
                write()
    with pytest.raises(RecordError):
        opener(tmp_path / "nowhere", read_only=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_closed_record_says_so(record):
    """Use after ``close`` is an error of the record's own tree."""
    record.close()
    for use in (
        lambda: record.append([tick(1)]),
        lambda: list(record.entries()),
        lambda: record.write_history("image", image(EPOCH_S, 1)),
        lambda: record.history("image", 0, 1),
        lambda: record.snapshot("image"),
    ):
        with pytest.raises(RecordError):
            use()


# --- history ----------------------------------------------------------------------------------------


def test_history_comes_back_in_time_order(record, opener, tmp_path):
    """Rows from parts and buffer are one table, half-open in time, before and after closing."""
    late, early = image(EPOCH_S + DAY_S - 3_600, 400), image(EPOCH_S, 300)
    record.write_history("image", late)
    record.write_history("image", early)
    expected = {name: np.concatenate([early[name], late[name]]) for name in early}
    assert_same_columns(record.history("image", 0, 2**40), expected)
    inside = (expected["t_s"] >= EPOCH_S + 60) & (expected["t_s"] < EPOCH_S + DAY_S + 600)
    assert_same_columns(
        record.history("image", EPOCH_S + 60, EPOCH_S + DAY_S + 600),
        {name: values[inside] for name, values in expected.items()},
    )
    record.close()
    with contextlib.closing(opener(tmp_path / "record")) as again:
        assert_same_columns(again.history("image", 0, 2**40), expected)
        assert len(again.history("image", EPOCH_S - 9, EPOCH_S)["t_s"]) == 0


def test_history_keeps_types_and_absence(record, opener, tmp_path):
    """Numbers, truth values, texts and NaN survive a part."""
    columns = image(
        EPOCH_S,
        2,
        ready=lambda n: np.arange(n) % 2 == 0,
        quality=lambda n: np.arange(n, dtype=np.uint8),
        v_pu=lambda n: np.full(n, np.nan, np.float32),
        e_kwh=lambda n: np.where(np.arange(n) == 1, np.nan, -np.inf),
        source=lambda n: np.arange(n, dtype=np.int16) - 1,
        id=lambda n: np.array([f"ü{k}" * k for k in range(n)]),
    )
    record.write_history("image", columns)
    record.close()
    with contextlib.closing(opener(tmp_path / "record")) as again:
        assert_same_columns(again.history("image", 0, 2**40), columns)


def test_a_column_that_came_later_is_absent_before(record, opener, tmp_path):
    """Parts of different columns read as one table, absence being NaN, -1 or the empty text."""
    record.write_history("image", image(EPOCH_S, 1))
    record.close()
    more = {
        "v_pu": lambda n: np.ones(n, np.float32),
        "depart_s": lambda n: np.ones(n, np.int64),
        "ready": lambda n: np.ones(n, bool),
        "id": lambda n: np.full(n, "a"),
    }
    with contextlib.closing(opener(tmp_path / "record")) as again:
        again.write_history("image", image(EPOCH_S + 60, 1, **more))
        buffered = again.history("image", 0, 2**40)
    with contextlib.closing(opener(tmp_path / "record")) as again:
        assert_same_columns(again.history("image", 0, 2**40), buffered)
    assert np.isnan(buffered["v_pu"][:3]).all()
    assert (buffered["depart_s"][:3] == -1).all()
    assert (buffered["ready"] == np.repeat([-1, 1], 3)).all()
    assert buffered["id"].tolist() == ["", "", "", "a", "a", "a"]


def test_an_unknown_table_is_empty(record):
    """No rows were ever written: no columns."""
    assert record.history("nothing", 0, 2**40) == {}


def test_written_arrays_stay_the_callers_own(record):
    """Reusing an array after writing changes no history."""
    columns = image(EPOCH_S, 1)
    record.write_history("image", columns)
    columns["p_kw"][:] = 99.0
    assert record.history("image", 0, 2**40)["p_kw"].max() <= 1.0


@pytest.mark.parametrize("name", ["", "Image", "../x", "a b", 'a"b', "a;drop", "1a", "a" * 64, "ü", "a\n"])
def test_names_are_narrow(record, name):
    """No name of a table, column or snapshot can leave its folder or its query."""
    for use in (
        lambda: record.write_history(name, image(EPOCH_S, 1)),
        lambda: record.write_history("image", {**image(EPOCH_S, 1), name: np.zeros(3)}),
        lambda: record.history(name, 0, 1),
        lambda: record.snapshot(name, b""),
        lambda: record.snapshot(name),
    ):
        with pytest.raises(ValueError, match="name"):
            use()


@pytest.mark.parametrize(
    "wrong",
    [
        {"p_kw": np.zeros(3)},
        {"t_s": np.zeros(3)},
        {"t_s": np.array([-1])},
        {"t_s": np.array([2**60])},
        {"t_s": np.zeros(3, np.int64), "p_kw": np.zeros(2)},
        {"t_s": np.zeros(1, np.int64), "p_kw": np.zeros((1, 1))},
        {"t_s": np.zeros(1, np.int64), "p_kw": np.zeros(1, complex)},
        {"t_s": np.zeros(1, np.int64), "filename": np.zeros(1)},
    ],
)
def test_rows_that_no_table_can_hold_are_refused(record, wrong):
    """A caller's bug is a ValueError and leaves no row."""
    with pytest.raises(ValueError, match="history"):
        record.write_history("image", wrong)
    assert record.history("image", 0, 2**40) == {}


def test_rows_of_one_table_have_the_same_columns(record):
    """A misspelt column does not silently found a new one."""
    record.write_history("image", image(EPOCH_S, 1))
    with pytest.raises(ValueError, match="p_kv"):
        record.write_history("image", {"t_s": np.array([EPOCH_S]), "p_kv": np.zeros(1)})
    with pytest.raises(ValueError, match="text"):
        record.write_history("image", {**image(EPOCH_S, 1), "p_kw": np.array(["1", "2", "3"])})


def test_history_is_read_while_it_is_written_and_compacted(record):
    """Readers see every row exactly once whatever flushes and compactions happen meanwhile."""
    day = str(np.datetime64(EPOCH_S, "s"))[:10]
    written = 0
    stop = threading.Event()
    problems = []

    def read():
        try:
            seen = 0
            while not stop.is_set():
                rows = record.history("image", 0, 2**40)
                times = rows["t_s"][::3] if rows else np.zeros(0, np.int64)
                assert (np.diff(times) == 1).all()
                assert len(times) >= seen
                seen = len(times)
        except BaseException as problem:  # noqa: BLE001 # handed to the test's own thread
            problems.append(problem)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        record.write_history("image", image(EPOCH_S + written, 350, step_s=1))
        written += 350
        if written % 700 == 0:
            record.compact("image", day)
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(record.history("image", 0, 2**40)["t_s"]) == 3 * written


# --- snapshots --------------------------------------------------------------------------------------


def test_a_snapshot_is_the_newest_bytes(record, opener, tmp_path):
    """Absent at first, then what was stored last, also after closing."""
    assert record.snapshot("image") is None
    assert record.snapshot("image", b"one") == b"one"
    assert record.snapshot("image", b"") == b""
    assert record.snapshot("image", bytes(range(256))) == bytes(range(256))
    assert record.snapshot("other") is None
    record.close()
    with contextlib.closing(opener(tmp_path / "record")) as again:
        assert again.snapshot("image") == bytes(range(256))


# --- SQLite and Parquet alone -----------------------------------------------------------------------


@pytest.fixture
def sqlite_record(tmp_path):
    """The SQLite implementation, looked into."""
    with contextlib.closing(open_record(tmp_path / "record", flush_rows=300)) as opened:
        assert isinstance(opened, SqliteRecord)
        yield opened


def test_a_full_disk_is_one_error_and_passes(sqlite_record):
    """Without space an append stores nothing, the chain verifies, and with space it goes on."""
    sqlite_record.append([tick(1)])
    writer = sqlite_record._ledger._writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    big = [tick(k, n=20_000) for k in range(3)]
    for _ in range(2):
        with pytest.raises(RecordFull):
            sqlite_record.append(big)
    verdict = sqlite_record.verify()
    assert (verdict.ok, verdict.entries) == (True, 1)
    writer.execute(f"PRAGMA max_page_count = {2**30}")
    assert sqlite_record.append(big) == 4
    assert sqlite_record.verify().ok


def test_a_file_size_limit_stores_all_or_nothing(tmp_path):
    """A real refusal by the operating system in the middle of writing leaves an intact chain."""
    child = textwrap.dedent("""
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from gridflock.model import Entry
        from gridflock.record import RecordError, open_record

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        record = open_record(Path(sys.argv[1]))
        noise = np.random.default_rng(0).normal(size=20_000)
        rows = {"t_s": np.arange(20_000), "x": noise}
        resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, resource.RLIM_INFINITY))
        stored, refused = 0, 0
        for k in range(10):
            try:
                stored = record.append([Entry("tick", k, {}, {"x": noise})])
            except RecordError:
                refused += 1
                verdict = record.verify()
                assert verdict.ok and verdict.entries == stored, verdict
        assert stored and refused
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
        try:
            record.snapshot("image", bytes(50_000))
            raise SystemExit("a snapshot larger than the limit was stored")
        except RecordError:
            assert record.snapshot("image") is None
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert record.append([Entry("tick", 99, {}, {"x": noise})]) == stored + 1
        assert record.verify().ok
        record.close()
    """)
    done = subprocess.run(
        [sys.executable, "-c", child, str(tmp_path / "record")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_history_that_cannot_be_written_is_kept_for_later(sqlite_record, tmp_path):
    """A failing part leaves no file; its rows stay readable and are written once that is possible."""
    blocked = tmp_path / "record" / "history"
    blocked.write_bytes(b"a file where a folder belongs")
    with pytest.raises(RecordError):
        sqlite_record.write_history("image", image(EPOCH_S, 100))
    assert len(sqlite_record.history("image", 0, 2**40)["t_s"]) == 300
    for k in range(1, 9):
        with pytest.raises(RecordError):
            sqlite_record.write_history("image", image(EPOCH_S + 6_000 * k, 100))
    kept = len(sqlite_record.history("image", 0, 2**40)["t_s"])
    assert kept == 4 * 300
    blocked.unlink()
    sqlite_record.write_history("image", image(EPOCH_S + 60_000, 1))
    assert len(sqlite_record.history("image", 0, 2**40)["t_s"]) == kept + 3


def test_compaction_keeps_every_row_through_a_kill(sqlite_record, tmp_path):
    """Merged and covered parts side by side, as a kill leaves them, read as the merged one alone."""
    day = str(np.datetime64(EPOCH_S, "s"))[:10]
    for k in range(4):
        sqlite_record.write_history("image", image(EPOCH_S + 6_000 * k, 100))
    before = sqlite_record.history("image", 0, 2**40)
    folder = tmp_path / "record" / "history" / "image" / f"day={day}"
    covered = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sqlite_record.compact("image", day) == 4
    assert [path.name for path in folder.iterdir()] == ["part-000000-000003.parquet"]
    for name, data in covered.items():
        (folder / name).write_bytes(data)
    (folder / "part-000004-000004.parquet.tmp").write_bytes(b"half a part")
    assert_same_columns(sqlite_record.history("image", 0, 2**40), before)
    sqlite_record.write_history("image", image(EPOCH_S + 30_000, 100))
    assert len(sqlite_record.history("image", 0, 2**40)["t_s"]) == 5 * 300
    assert sqlite_record.compact("image", day, key="row") == 2
    assert [path.name for path in folder.iterdir()] == ["part-000000-000004.parquet"]
    assert_same_columns(
        {name: values[:1_200] for name, values in sqlite_record.history("image", 0, 2**40).items()}, before
    )
    assert sqlite_record.compact("image", day) == 0
    sqlite_record.write_history("image", image(EPOCH_S + 40_000, 100))
    with pytest.raises(ValueError, match="colour"):
        sqlite_record.compact("image", day, key="colour")
    with pytest.raises(ValueError, match="isoformat"):
        sqlite_record.compact("image", "../../etc")


def test_a_damaged_part_is_named(sqlite_record, tmp_path):
    """Reading a part that is no Parquet any more is an error, not fewer rows."""
    sqlite_record.write_history("image", image(EPOCH_S, 100))
    (part,) = (tmp_path / "record" / "history").rglob("*.parquet")
    part.write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(RecordBroken, match="image"):
        sqlite_record.history("image", 0, 2**40)


def test_a_later_version_is_refused(sqlite_record, tmp_path):
    """An older Gridflock does not touch what a later one wrote."""
    sqlite_record.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "record" / "ledger.sqlite")) as raw, raw:
        raw.execute("UPDATE meta SET version = 99")
    for read_only in (False, True):
        with pytest.raises(RecordError, match="version 99"):
            open_record(tmp_path / "record", read_only=read_only)


@pytest.mark.parametrize("data", [b"not a database at all" * 100, b""])
def test_a_file_that_is_no_ledger_is_named(tmp_path, data):
    """Opening somebody else's file fails with its path; a file that was only begun is completed."""
    (tmp_path / "ledger.sqlite").write_bytes(data)
    with pytest.raises(RecordError, match=r"ledger\.sqlite"):
        open_record(tmp_path, read_only=True)
    if data:
        with pytest.raises(RecordError, match=r"ledger\.sqlite"):
            open_record(tmp_path)
        (tmp_path / "ledger.sqlite").unlink()
    with contextlib.closing(open_record(tmp_path)) as record:
        assert record.append([tick(1)]) == 1


def test_the_face_is_small_and_explained():
    """Beside five kinds of errors the package shows at most five names, and each is documented."""
    assert len(record_package.__all__) <= 10
    assert all(getattr(record_package, name).__doc__ for name in record_package.__all__)
