"""Laws of the chain and of columns as bytes."""

import contextlib
import shutil
import sqlite3
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gridflock.model import Entry
from gridflock.record import RecordBroken, RecordError, open_record
from gridflock.record._columns import LARGEST_BYTES, decode_columns, encode_columns

DTYPES = ["?", "u1", "<i2", "<i4", "<i8", "<f4", "<f8", ">f4", ">i8"]
ENTRIES = 30


def bits(array):
    """The array's bytes in this machine's order: equal only where every bit of every number is."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")).tobytes()


@st.composite
def any_columns(draw):
    """Columns of all storable dtypes, any bit patterns (NaN payloads too), any lengths and strides."""
    columns = {}
    for name in draw(st.lists(st.text(min_size=0, max_size=8), unique=True, max_size=5)):
        dtype = np.dtype(draw(st.sampled_from(DTYPES)))
        n, step = draw(st.integers(0, 60)), draw(st.sampled_from([1, 2, -1]))
        if dtype.kind == "b":
            array = draw(npst.arrays(dtype, n))
        else:
            array = np.frombuffer(
                draw(st.binary(min_size=n * dtype.itemsize, max_size=n * dtype.itemsize)), dtype
            )
        columns[name] = array[::step]
    return columns


@given(any_columns(), st.randoms())
def test_columns_come_back_bit_by_bit(columns, order):
    """decode(encode(x)) = x in names, dtypes, lengths and every bit; order of names plays no part."""
    blob = encode_columns(columns)
    found = decode_columns(blob)
    assert set(found) == set(columns)
    for name, array in columns.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert bits(found[name]) == bits(array)
        assert not found[name].flags.writeable
        assert found[name].flags.aligned
    names = list(columns)
    order.shuffle(names)
    assert encode_columns({name: columns[name] for name in names}) == blob


@given(st.integers(0, 3_000), st.sampled_from(DTYPES))
def test_regular_columns_shrink_and_noise_hardly_grows(n, dtype):
    """Compression is only used where it helps."""
    level = np.zeros(n, dtype)
    assert len(encode_columns({"x": level})) <= level.nbytes + 64
    noise = np.random.default_rng(n).integers(0, 256, 8 * n, dtype=np.uint8)
    assert len(encode_columns({"x": noise})) <= noise.nbytes + 64


@given(any_columns(), st.data())
def test_damaged_columns_never_decode_into_something_worse(columns, data):
    """Flipped, cut or lengthened bytes give columns or one clear error, never another exception."""
    blob = bytearray(encode_columns(columns))
    if blob:
        position = data.draw(st.integers(0, 8 * len(blob) - 1))
        blob[position // 8] ^= 1 << position % 8
    cut = data.draw(st.integers(0, len(blob)))
    for hostile in (bytes(blob), bytes(blob[:cut]), bytes(blob) + b"\0"):
        with contextlib.suppress(RecordBroken):
            decode_columns(hostile)


@given(st.binary(max_size=200))
def test_noise_is_no_column(noise):
    """Arbitrary bytes behind a right prefix are refused, or happen to be columns."""
    for size in (len(noise), len(noise) | 1 << 63):
        with contextlib.suppress(RecordBroken):
            decode_columns(struct.pack("<4sIQ", b"GFC1", min(8, len(noise)), size) + noise)


@pytest.mark.parametrize(
    "header",
    [
        b"{}",
        b"null",
        b"[[]]",
        b'[["x","f4"]]',
        b'[["x","O8",1]]',
        b'[["x","f4",-1]]',
        b'[["x","f4",true]]',
        b'[["x","f4",1e3]]',
        b'[["x","f4",99999999999999999999]]',
        b'[["x","f4",5]]',
        b'[["x","f4",1],["x","f4",1]]',
        b"[" * 5_000,
        b"\xff\xfe",
    ],
)
def test_a_lying_header_is_refused(header):
    """Wrong structure, unknown types, repeated names and sizes that do not add up are one error."""
    header += b" " * (-len(header) % 8)
    body = header + bytes(16)
    with pytest.raises(RecordBroken):
        decode_columns(struct.pack("<4sIQ", b"GFC1", len(header), len(body)) + body)


def test_a_bomb_is_refused_before_it_is_unpacked():
    """A declared size beyond the limit, or a stream longer than declared, never gets its memory."""
    bomb = zlib.compress(bytes(64 * 2**20), 1)
    for declared in (LARGEST_BYTES + 1, 2**62, 1_000):
        with pytest.raises(RecordBroken):
            decode_columns(struct.pack("<4sIQ", b"GFC1", 8, declared | 1 << 63) + bomb)
    with pytest.raises(ValueError, match="at most"):
        encode_columns({"x": np.broadcast_to(np.float64(1), LARGEST_BYTES // 8)})


def test_truth_is_0_or_1():
    """A byte that is neither cannot become a truth value."""
    blob = bytearray(encode_columns({"x": np.ones(3, bool)}))
    blob[-8] = 2
    with pytest.raises(RecordBroken, match="truth"):
        decode_columns(bytes(blob))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """A closed ledger of ``ENTRIES`` entries."""
    folder = tmp_path_factory.mktemp("ledger")
    rng = np.random.default_rng(7)
    with contextlib.closing(open_record(folder)) as record:
        for k in range(ENTRIES):
            columns = {"p_kw": rng.normal(size=k).astype(np.float32)} if k % 2 else {}
            record.append([Entry(["tick", "change"][k % 2], 60 * k, {"k": k, "why": "because"}, columns)])
        assert record.verify().ok
    return folder / "ledger.sqlite"


@contextlib.contextmanager
def tampered(ledger, *statements):
    """A copy of the ledger after somebody ran SQL on it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "ledger.sqlite"
        shutil.copy(ledger, copy)
        with contextlib.closing(sqlite3.connect(copy)) as raw, raw:
            for sql, values in statements:
                raw.execute(sql, values)
        with contextlib.closing(open_record(Path(folder), read_only=True)) as record:
            yield record


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seq=st.integers(1, ENTRIES), field=st.integers(0, 4), where=st.integers(0, 10**6))
def test_a_flipped_bit_is_found_at_its_entry(ledger, seq, field, where):
    """One bit of any field of any entry changed: ``verify`` names that entry, no earlier, no later."""
    name = ["time_s", "kind", "head", "columns", "hash"][field]
    with contextlib.closing(sqlite3.connect(ledger)) as raw:
        (value,) = raw.execute(f"SELECT {name} FROM ledger WHERE seq = ?", (seq,)).fetchone()
    if isinstance(value, int):
        changed = value ^ 1 << where % 40
        sql = f"UPDATE ledger SET {name} = ? WHERE seq = ?"
    else:
        data = bytearray(value.encode() if isinstance(value, str) else value)
        if not data:
            return
        data[where // 8 % len(data)] ^= 1 << where % 8
        changed = bytes(data)
        kind = "TEXT" if isinstance(value, str) else "BLOB"
        sql = f"UPDATE ledger SET {name} = CAST(? AS {kind}) WHERE seq = ?"
    with tampered(ledger, (sql, (changed, seq))) as record:
        verdict = record.verify()
    assert (verdict.ok, verdict.broken_seq, verdict.entries) == (False, seq, seq - 1)
    assert "hash mismatch" in verdict.reason


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seq=st.integers(1, ENTRIES))
def test_a_removed_entry_is_found(ledger, seq):
    """A gap is named, also at the end, and also where the numbers behind it were closed up."""
    remove = ("DELETE FROM ledger WHERE seq = ?", (seq,))
    lift = ("UPDATE ledger SET seq = -seq WHERE seq > ?", (seq,))
    close_up = ("UPDATE ledger SET seq = -seq - 1 WHERE seq < 0", ())
    with tampered(ledger, remove) as record:
        verdict = record.verify()
        assert (verdict.ok, verdict.broken_seq) == (False, seq)
        assert "missing" in verdict.reason
    with tampered(ledger, remove, lift, close_up) as record:
        assert record.verify().broken_seq == seq


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=st.lists(st.integers(1, ENTRIES), min_size=2, max_size=2, unique=True))
def test_exchanged_entries_are_found(ledger, pair):
    """Two entries that changed places break the chain at the earlier one."""
    low, high = sorted(pair)
    swap = [
        ("UPDATE ledger SET seq = -1 WHERE seq = ?", (low,)),
        ("UPDATE ledger SET seq = ? WHERE seq = ?", (low, high)),
        ("UPDATE ledger SET seq = ? WHERE seq = -1", (high,)),
    ]
    with tampered(ledger, *swap) as record:
        assert record.verify().broken_seq == low


def test_an_added_entry_is_found(ledger):
    """An entry that was put in beside the chain is broken, before the first one or behind the last."""
    columns = "time_s, kind, head, hash, columns"
    for seq, broken in ((0, 1), (-5, 1), (ENTRIES + 1, ENTRIES + 1)):
        copy = (f"INSERT INTO ledger (seq, {columns}) SELECT ?, {columns} FROM ledger WHERE seq = 3", (seq,))
        with tampered(ledger, copy) as record:
            verdict = record.verify()
        assert (verdict.ok, verdict.broken_seq) == (False, broken)


def test_an_entry_the_ledger_does_not_count_is_found(ledger):
    """Neither a rightly chained entry added behind the last one nor a lowered count goes unnoticed."""
    with tampered(ledger, ("UPDATE meta SET last_seq = ?", (ENTRIES - 2,))) as record:
        verdict = record.verify()
    assert (verdict.ok, verdict.broken_seq) == (False, ENTRIES - 1)
    assert "added" in verdict.reason


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_file_is_found_or_harmless(ledger, position, bit):
    """Wherever in the file a bit flips: a break, a clear refusal, or every entry is as it was."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "ledger.sqlite"
        data = bytearray(ledger.read_bytes())
        data[position % len(data)] ^= 1 << bit
        copy.write_bytes(data)
        try:
            with contextlib.closing(open_record(Path(folder), read_only=True)) as record:
                verdict = record.verify()
                whole = [entry.head["k"] for entry in record.entries()] if verdict.ok else []
        except RecordError:
            return
    if verdict.ok:
        assert whole == list(range(ENTRIES))
    else:
        assert 1 <= verdict.broken_seq <= ENTRIES + 1
        assert verdict.reason
