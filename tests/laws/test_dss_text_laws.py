"""Laws of reading OpenDSS text: nothing unchecked reaches the engine, nothing outside the root is read."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.field.opendss import _files, _text
from gridflock.field.opendss._text import MOST_NESTED, read_script
from gridflock.field.opendss._tokens import Token, tokens
from gridflock.field.opendss._vocabulary import CLASSES, OPTIONS, VERBS, Fate, resolve
from gridflock.grid.build import FeederRejected

PASSED = {verb for verb, fate in VERBS.items() if fate is Fate.PASSED} | {"set"}
WORD = st.text("abcxyz019._-%", min_size=1, max_size=8)
RAW = st.one_of(
    WORD,
    WORD.map(lambda t: f'"{t} {t}"'),
    WORD.map(lambda t: f"'{t},{t}'"),
    WORD.map(lambda t: f"({t} | {t})"),
    WORD.map(lambda t: f"[{t}=1 {t}]"),
    WORD.map(lambda t: f"{{{t}! {t}}}"),
)


def _script(folder, text, name="m.dss", **files):
    for file, content in {name: text, **files}.items():
        (folder / file).write_text(content)
    return read_script(folder / name)


def _refused(folder, text, **files):
    with pytest.raises(FeederRejected) as caught:
        _script(folder, text, **files)
    return caught.value.rejected


def _texts(script):
    return [command.text for command in script.commands]


@given(
    st.lists(
        st.tuples(st.one_of(st.just(""), st.from_regex(r"[a-z%]{1,6}", fullmatch=True)), RAW), max_size=8
    )
)
def test_words_written_anew_read_the_same(pairs):
    """Cutting a line and writing it anew from its words changes nothing more when done again."""
    words = [Token(name, raw) for name, raw in pairs]
    line = " ".join(map(str, words))
    once = list(tokens(line))
    assert once == words
    assert list(tokens(" ".join(map(str, once)))) == once


@given(RAW, st.sampled_from(["!", " !", "//", " // "]), st.text(max_size=20).filter(lambda t: "\n" not in t))
def test_comment_ends_a_line(raw, mark, comment):
    """Whatever stands behind ``!`` or ``//`` outside quotes is no word."""
    assert list(tokens(f"kw={raw}{mark}{comment}")) == [Token("kw", raw)]


@settings(max_examples=300)
@given(st.lists(st.text("abcdeklmnoprstuvwxyz ~?=.,!/()[]{}\"'\t01", max_size=60), max_size=5))
def test_only_allowed_verbs_are_passed_on(tmp_path_factory, rows):
    """Whatever a file says, the engine gets commands from the allow-list only, one per line."""
    folder = tmp_path_factory.mktemp("feeder")
    try:
        script = _script(folder, "\n".join(rows))
    except FeederRejected:
        return
    for text in _texts(script):
        assert text.split(" ", 1)[0] in PASSED
        assert "\n" not in text
        assert "\r" not in text


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=14))
def test_a_word_is_known_or_refused(word):
    """A verb or option is taken only where it is one of the table, in full or cut short unambiguously."""
    for table in (VERBS, OPTIONS):
        found = resolve(word, table)
        if found is None:
            assert word not in table
        else:
            assert found == word or (found.startswith(word) and sum(n.startswith(word) for n in table) == 1)


@pytest.mark.parametrize("verb", sorted(v for v, fate in VERBS.items() if fate is Fate.TOLD))
def test_reports_are_told_not_passed(tmp_path, verb):
    """Verbs that report, draw or write are left out and told, with their place."""
    script = _script(tmp_path, f"new circuit.c\n{verb} something /tmp/x\n")
    assert _texts(script) == ["new circuit.c"]
    assert any(verb in note and "m.dss:2" in note for note in script.notes)


@pytest.mark.parametrize(
    "line",
    [
        "doscmd rm x",
        "var @x=1",
        "allocateloads",
        "makeposseq",
        "reduce default",
        "distribute kw=100",
        "cvrtloadshapes type=dbl",
        "set datapath=/tmp",
        "set cktmodel=positive",
        "set year=3",
        "set loadmodel=admittance",
        "new isource.i bus1=a",
        "new indmach012.i bus1=a",
        "new nonsense.i bus1=a",
        "new generator.g bus1=a model=6 usermodel=evil.so",
        "new generator.g bus1=a userm=evil.so",
        'new generator.g bus1=a "usermodel"=evil.so',
        "new generator.g bus1=a shaftm=evil.so",
        "new generator.g 3 a 1 2 3 4 5 6 7 evil.so",
        "new generator.g balanced=no evil.so",
        "new storage.s dynadll=evil.so",
        "new pvsystem.p usermodel=evil.so",
        "new capcontrol.c usermodel=evil.so",
        "generator.g.usermodel=evil.so",
        "batchedit generator..* usermodel=evil.so",
        "new loadshape.l npts=3 action=dblsave",
        "new loadshape.l npts=3 csvf=../x.csv",
        "new loadshape.l 3 1 (1 2 3)",
        "new loadshape.l npts=99999999999",
        "new line.l phases=100000",
        "new reactor.l phases=31",
        "new linecode.l nphases=31",
        "new transformer.l windings=2 buses=(a b) phases=4",
        "new xfmrcode.l 4",
        "new load.l 100000 a",
        "new line.l a b code 3 100000",
        "new line.l length=3 -1",
        "new capacitor.l bus1=a b 0",
        "new load.l phases=(100000 1 *)",
        "new line.l seasons=1000000000",
        "new transformer.t wind=2000",
        "batchedit load..(a+)+$ kw=1",
        "new swtcontrol.s switchedobj=line.a state=open",
        "new fuse.f monitoredobj=line.a state=[open open open]",
        "new recloser.r monitoredobj=line.a state=open",
        "new load.l bus1=b.-1 kw=1",
        "new line.l s.1 b.-2",
        "new circuit.a\nnew circuit.b",
        "kw=5",
    ],
)
def test_what_could_harm_or_deceive_is_refused(tmp_path, line):
    """Programs, libraries, files written, memory reserved, other models: refused with file and line."""
    rejected = _refused(tmp_path, line + "\n")
    assert all(re.search(r"m\.dss:\d+", r.reason) for r in rejected)


@pytest.mark.parametrize(
    "line",
    [
        "redirect ../secret.dss",
        "redirect {up}/secret.dss",
        "redirect link.dss",
        "compile ..\\secret.dss",
        "buscoords ../secret.dss",
        "new loadshape.l npts=2 mult=(file=../secret.dss)",
        "new loadshape.l npts=2 csvfile=../secret.dss",
        "new loadshape.l npts=2 mult=(sngfile={up}/secret.dss)",
        "new load.l zipv=(file=../secret.dss)",
        "set voltagebases=(file=../secret.dss)",
        'new loadshape.l npts=2 mult=["file"=../secret.dss]',
        "new loadshape.l npts=2 mult=[{{file}}=../secret.dss]".replace("{{", "{").replace("}}", "}"),
        "new loadshape.l npts=2 mult=['sngfile'=../secret.dss]",
        'new loadshape.l npts=2 mult=(["file"=../secret.dss])',
    ],
)
def test_nothing_outside_the_root_is_read(tmp_path, line):
    """A path out of the root, plain, absolute, or through a link, is refused; the file stays unread."""
    (tmp_path / "secret.dss").write_text("new circuit.secret\n")
    folder = tmp_path / "feeder"
    folder.mkdir()
    (folder / "link.dss").symlink_to(tmp_path / "secret.dss")
    rejected = _refused(folder, line.replace("{up}", str(tmp_path)))
    assert len(rejected) == 1
    assert "circuit.secret" not in rejected[0].reason


def test_a_wider_root_lets_a_feeder_read_its_neighbours(tmp_path):
    """With the collection's folder as root a redirect upwards is followed; without, --root is named."""
    (tmp_path / "Codes.DSS").write_text("new linecode.x\n")
    folder = tmp_path / "feeder"
    folder.mkdir()
    (folder / "m.dss").write_text("new circuit.c\nredirect ../codes.dss\n")
    script = read_script(folder / "m.dss", tmp_path)
    assert _texts(script) == ["new circuit.c", "new linecode.x"]
    assert script.places["linecode.x"] == "Codes.DSS:1"
    with pytest.raises(FeederRejected, match="--root"):
        read_script(folder / "m.dss")


def test_files_are_relative_to_the_file_that_names_them(tmp_path):
    """A redirect is relative to its own file's folder; after ``compile`` that folder stays."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.dss").write_text("new loadshape.a npts=2 mult=(file=x.csv)\n")
    (tmp_path / "sub" / "b.dss").write_text("new load.b bus1=s\n")
    (tmp_path / "sub" / "x.csv").write_text("1\n2\n")
    script = _script(tmp_path, "redirect sub\\A.dss\ncompile (sub/a.dss)\nredirect b.dss\n")
    path = (tmp_path / "sub" / "x.csv").resolve()
    assert _texts(script)[0] == f'new loadshape.a npts=2 mult=[file="{path}"]'
    assert script.commands[-1].where == "sub/b.dss:1"


def test_limits_hold(tmp_path, monkeypatch):
    """Nesting, size, and binary content are bounded."""
    assert "nested" in _refused(tmp_path, "redirect m.dss")[0].reason
    assert MOST_NESTED < 100
    assert "binary" in _refused(tmp_path, "new circuit.c\0\1x y\n")[0].reason
    assert "at most 255 characters" in _refused(tmp_path, f"new line.{'x' * 300}")[0].reason
    monkeypatch.setattr(_files, "MOST_BYTES", 10)
    assert "larger" in _refused(tmp_path, "new circuit.c basekv=12")[0].reason


@pytest.mark.parametrize(
    ("line", "module", "most", "field", "says"),
    [
        ("redirect big.dss", _text, {"MOST_LINES": 500}, "lines", "500 lines together"),
        ("buscoords big.dss", _text, {"MOST_LINES": 500}, "lines", "500 lines together"),
        ("redirect big.dss", _files, {"MOST_BYTES_TOGETHER": 9000}, "redirect", "again and again"),
        ("redirect big.dss", _files, {"MOST_FILES": 9}, "redirect", "again and again"),
        (
            "new loadshape.l npts=2 mult=(file=big.dss)",
            _files,
            {"MOST_BYTES_TOGETHER": 9000},
            "mult",
            "again and again",
        ),
        ("new loadshape.l npts=9000", _text, {"MOST_POINTS": 100_000}, "npts", "100000 points"),
        ("new loadshape.l like=other", _text, {"MOST_POINTS": 300_000}, "npts", "300000 points"),
    ],
)
def test_the_same_file_again_and_again_is_refused(tmp_path, monkeypatch, line, module, most, field, says):
    """A file read many times counts each time: lines, bytes, files and points of shapes have an end."""
    for name, value in most.items():
        monkeypatch.setattr(module, name, value)
    text = "new loadshape.other npts=20000\n" + f"{line}\n" * 100
    rejected = _refused(tmp_path, text, **{"big.dss": "! nothing\n" * 100})
    assert rejected[0].field == field
    assert says in rejected[0].reason
    assert re.search(r"(m|big)\.dss:\d+", rejected[0].reason)
    assert len(rejected) <= _text.MOST_FAULTS


@pytest.mark.parametrize(
    "line",
    [
        "edit load.b kw=3",
        "load.b.kw=3",
        "enable line.b",
        "disable load.b",
        "open line.b 1",
        "close line.b 1",
        "edit loadshape.b npts=2",
        "edit linecode.b r1=1",
        "edit vsource.b pu=1",
    ],
)
def test_a_change_of_what_does_not_exist_is_refused(tmp_path, line):
    """A misspelt name in a change is refused with element, file and line; defined before, it is taken."""
    head = "new circuit.c\nnew line.a bus1=s bus2=t\nnew load.a bus1=t\nnew loadshape.a npts=1\n"
    head += "new linecode.a\nnew vsource.a bus1=t\n"
    (fault,) = _refused(tmp_path, head + line)
    assert fault.ids == (re.search(r"\w+\.b", line)[0],)
    assert "no such element" in fault.reason
    assert "m.dss:7" in fault.reason
    assert len(_texts(_script(tmp_path, head + line.replace(".b", ".a")))) == 7
    assert _refused(tmp_path, f"{line.replace('.b', '.a')}\n{head}")


def test_what_the_engine_has_by_itself_may_be_changed(tmp_path):
    """The source of a circuit and the shapes of the engine exist without being written; clear ends others."""
    lines = "new circuit.c\nvsource.source.pu=1.03\nedit loadshape.default npts=1\n"
    assert len(_texts(_script(tmp_path, lines))) == 3
    assert "no such element" in _refused(tmp_path, "new circuit.c\nclear\nvsource.source.pu=1")[0].reason


def test_a_pattern_without_a_match_is_told(tmp_path):
    """A batchedit that matches nothing changes nothing: passed on, with a note; one that matches has none."""
    script = _script(
        tmp_path, "new circuit.c\nnew load.a1\nbatchedit load.a.* kw=1\nbatchedit load.b.* kw=1\n"
    )
    assert len(_texts(script)) == 4
    assert script.notes == ["batchedit load.b.* matches no element so far: at m.dss:4"]


NOT_A_NUMBER = ("nan", "NaN", "inf", "-inf", "Infinity", "1e999", "-1e16", "12345678901234567")


@pytest.mark.parametrize("written", NOT_A_NUMBER)
@pytest.mark.parametrize(
    ("line", "element", "field"),
    [
        ("new load.l bus1=a kw={}", "load.l", "kw"),
        ("new load.l bus1=a\nload.l.kv={}", "load.l", "kv"),
        ("new load.l bus1=a\n~ zipv=(1 0 0 {} 0 0 0.8)", "load.l", "zipv"),
        ("new line.l a b length={}", "line.l", "length"),
        ("new line.l a b code {}", "line.l", "value 4"),
        ("new line.l rmatrix=[{}|0 1]", "line.l", "rmatrix"),
        ("new transformer.t kvs=[12.47,{}]", "transformer.t", "kvs"),
        ("new loadshape.s npts=2 mult=(1, {})", "loadshape.s", "mult"),
        ("new regcontrol.r vreg={}", "regcontrol.r", "vreg"),
        ("batchedit load..* kw={}", "load..*", "kw"),
        ("set loadmult={}", "", "loadmult"),
        ("set voltagebases=[{} 0.4]", "", "voltagebases"),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_element_and_property(tmp_path, line, element, field, written):
    """Not a number, infinite, or larger than anything: refused with element, property, file and line."""
    (fault,) = _refused(tmp_path, "new circuit.c\n" + line.format(written))
    assert fault.field == field
    assert re.search(r"m\.dss:\d", fault.reason)
    if element:
        assert fault.ids == (element,)
        assert f"{written} is no number that can be" in fault.reason


def test_names_may_look_like_numbers(tmp_path):
    """A bus called inf, a code called nan, long digits as an identifier: names, where a name stands."""
    lines = (
        "new circuit.c bus1=inf\nnew line.nan inf 12345678901234567 nan\n"
        "new line.x linec=nan bus1=1e999.1.2\nnew load.inf bus1=inf.1 daily=infinity\n"
        "new transformer.t buses=(nan, inf)\n"
    )
    assert len(_texts(_script(tmp_path, lines))) == 5


def test_missing_file_names_the_line(tmp_path):
    """A file that is not there is told with the line that wants it."""
    rejected = _refused(tmp_path, "new circuit.c\nredirect lines.dss\n")
    assert "missing file 'lines.dss'" in rejected[0].reason
    assert "m.dss:2" in rejected[0].reason


def test_continued_lines_follow_their_element(tmp_path):
    """``~`` goes on with the last element, and is left out with it."""
    script = _script(
        tmp_path,
        "new circuit.c\n~ pu=1.05\nnew monitor.m\n~ element=line.a\nmore mode=1\n"
        "new line.a\n  ~ length=(2 3 *)\n",
    )
    assert _texts(script) == ["new circuit.c", "~ pu=1.05", "new line.a", "~ length=(2 3 *)"]
    assert [c.element for c in script.commands] == ["circuit.c"] * 2 + ["line.a"] * 2


def test_blocks_of_comment_and_short_words(tmp_path):
    """Block comments are skipped, verbs and options may be cut short, quoted names are names."""
    script = _script(
        tmp_path,
        '/* new circuit.no\nnew line.no\n*/\nNew "Circuit.Yes"\nNew Transformer.T\n'
        "Set VoltageB=[12.47, 0.4] maxiter=9\ncalcv\nTransformer.t.wdg=2 Tap=1.05\n"
        "SOLVE mode=daily loadmult=1.1\nset mode=snap\n",
    )
    assert _texts(script) == [
        "new circuit.yes",
        "new transformer.t",
        "set voltagebases=[12.47, 0.4]",
        "calcvoltagebases",
        "edit transformer.t wdg=2 tap=1.05",
        "set loadmult=1.1",
    ]


def test_clear_forgets_what_was_before(tmp_path):
    """After ``clear`` places, coordinates and notes are those of the new circuit."""
    (tmp_path / "xy.csv").write_text("a, 1, 2\nb 3 4\nheader, x, y\n")
    script = _script(
        tmp_path, "new circuit.a\nbuscoords xy.csv\nshow taps\nclear\nnew circuit.b\nsetbusxy bus=q x=5 y=6\n"
    )
    assert script.places == {"circuit.b": "m.dss:5", "vsource.source": "m.dss:5"}
    assert script.coordinates == {"q": (5.0, 6.0)}
    assert script.notes == []


def test_classes_left_out_are_told_once_with_a_count(tmp_path):
    """Meters, recorders and protection are counted in the notes."""
    told = sorted(c for c, fate in CLASSES.items() if fate is Fate.TOLD)
    script = _script(tmp_path, "".join(f"new {c}.x\nnew {c}.y\n" for c in told))
    assert _texts(script) == []
    assert len(script.notes) == len(told)
    assert all("2 times" in note for note in script.notes)
