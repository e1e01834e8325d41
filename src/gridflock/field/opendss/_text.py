"""Safe reading of .dss text: from a master file to the commands that may be passed on.

The files are untrusted. Redirections are followed here, only below the root; each line is cut into
words, each word is known or refused with its place, and what is passed on is written anew from the
words, so that the engine sees exactly what was checked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gridflock.field.opendss._files import Refused, Root, lines
from gridflock.field.opendss._tokens import Token, tokens
from gridflock.field.opendss._values import disbelieved
from gridflock.field.opendss._vocabulary import (
    CLASSES,
    FILE_CLASSES,
    FILE_PROPERTIES,
    GUARDED,
    LEADING,
    MEANING,
    OPTIONS,
    VERBS,
    Fate,
    resolve,
)
from gridflock.grid.build import Parts

MOST_LINES = 3_000_000
"""Of all files together; those of a file read twice count twice."""
MOST_ELEMENTS = 1_000_000
MOST_NESTED = 20
MOST_NAME = 255
"""Characters of a name."""
MOST_POINTS = 100_000_000
"""Of all load shapes together, for which the engine reserves memory."""
MOST_PATTERNS = 200
"""After this many it is no longer looked whether a pattern matches anything."""
MOST_FAULTS = 50
"""After this many the reading stops: the file is something else."""
MOST_UNNAMED = 6
"""Values by position of a class with properties that are not passed on."""

BUILT_IN = frozenset({"loadshape.default", "growthshape.default"})
"""Elements the engine has by itself, besides the source of a circuit."""
_FILE_WORDS = frozenset({"file", "sngfile", "dblfile"})
_BESIDE_FILE = frozenset({"column", "col", "header"})
_NEGATIVE_NODE = re.compile(r"\.\s*-|\.\d{3}")
_BELOW_ZERO = re.compile(r"\.\s*-\d")
SWITCHING = frozenset({"swtcontrol", "fuse", "relay", "recloser"})
_PROPERTY = re.compile(r"[\w%.\-]+")
_PATTERN = re.compile(r"[\w.\-*]+")


@dataclass(frozen=True, slots=True)
class Command:
    """One command for the engine.

    Attributes:
        text: the command, checked and written anew.
        where: ``file:line`` it stands at.
        element: ``class.name`` it makes or changes, lower case; empty for others.
    """

    text: str
    where: str
    element: str = ""


@dataclass(slots=True)
class Script:
    """What a master file comes to.

    Attributes:
        commands: what is passed on, in order.
        places: ``file:line`` where each ``class.name`` is defined, lower case.
        coordinates: plan position by bus, lower case.
        notes: what was left out, and why.
    """

    commands: list[Command] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    coordinates: dict[str, tuple[float, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_script(master: Path, root: Path | None = None) -> Script:
    """Read a master file and all it redirects to.

    Args:
        master: the file.
        root: folder outside which nothing is read; the master's own folder if None.

    Returns:
        The commands that describe the network.

    Raises:
        FeederRejected: a word that is not known or not allowed, a file that is missing or outside
            the root, a limit exceeded: each with ``file:line``.
    """
    reader = _Reader(Root(root if root is not None else master.parent))
    reader.read(master)
    reader.parts.faults.stop_if_any()
    return reader.finish()


class _Stop(Exception):  # noqa: N818 a way out of nested files, never leaves this module
    """Reading cannot go on."""


class _Reader:
    """The state of reading: what is defined so far, where we are."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.parts = Parts("")
        self.script = Script()
        self.told: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.where = ""
        self.row = 0
        self.count = 0
        self.depth = 0
        self.points = 0
        self.largest_shape = 0
        self.patterns = 0
        self.verb = ""
        self.folder = root.folder
        self.current: tuple[str, str] = ("", "")
        self.handlers: dict[str, Callable[[list[Token]], None]] = {
            "set": self._set,
            "solve": self._solve,
            "redirect": self._redirect,
            "compile": self._compile,
            "buscoords": self._coordinates,
            "latlongcoords": self._coordinates,
            "giscoords": self._coordinates,
            "setbusxy": self._one_coordinate,
            "clear": self._clear,
            "clearall": self._clear,
            "new": self._new,
            "edit": self._edit,
            "more": self._more,
            "m": self._more,
            "~": self._more,
            "batchedit": self._batchedit,
            "open": self._switching,
            "close": self._switching,
            "enable": self._switching,
            "disable": self._switching,
        }

    # ---- faults and notes ------------------------------------------------------------------------

    def fault(self, element: str, what: str, reason: str) -> None:
        """Note a fault at the present line."""
        self.parts.faults.add("opendss", element or self.where, what, f"{reason} ({self.where})", self.row)
        if len(self.parts.faults.found) >= MOST_FAULTS:
            raise _Stop

    def tell(self, what: str) -> None:
        """Note what is left out; the same twice is counted."""
        self.told[what] += 1
        self.first.setdefault(what, self.where)

    def finish(self) -> Script:
        """The script with its notes in words."""
        for what, count in self.told.items():
            times = f"{count} times, first at" if count > 1 else "at"
            self.script.notes.append(f"{what}: {times} {self.first[what]}")
        return self.script

    # ---- files and lines -------------------------------------------------------------------------

    def read(self, master: Path) -> None:
        """Read the master; what is wrong stands in the faults."""
        self.where = master.name
        try:
            self.file(self.root.find(str(master.parent.resolve() / master.name), self.root.folder), 0)
        except Refused as refused:
            self.parts.faults.add("opendss", master.name, "file", str(refused))
        except _Stop:
            pass

    def file(self, path: Path, depth: int) -> None:
        """Read one file line by line."""
        self.depth = depth
        if depth > MOST_NESTED:
            self.fault(
                "", "redirect", f"files nested deeper than {MOST_NESTED}: does one redirect to itself?"
            )
            raise _Stop
        outer = self.where, self.row, self.folder
        self.folder = path.parent
        comment, shown = False, self.root.name(path)
        for row, line in enumerate(lines(path), start=1):
            self.where, self.row = f"{shown}:{row}", row
            self.counted()
            if comment or line.lstrip().startswith("/*"):
                comment = "*/" not in line
                continue
            if "\0" in line.strip("\0\x1a "):
                self.fault("", "text", "a binary file, not a feeder")
                raise _Stop
            self.line(line.strip("\0\x1a"))
            self.depth = depth
        self.where, self.row, self.folder = outer

    def counted(self) -> None:
        """Count a line of whatever file."""
        self.count += 1
        if self.count > MOST_LINES:
            self.fault("", "lines", f"more than {MOST_LINES} lines together")
            raise _Stop

    def line(self, line: str) -> None:
        """Take one line."""
        words = list(tokens(line))
        if not words:
            return
        if words[0].name:
            self._assignment(words)
            return
        word = words[0].value.lower()
        verb = resolve(word, VERBS)
        if verb is None:
            self.fault(
                "", word, f"unknown or not allowed command {words[0].value!r}: take it out of the file"
            )
        elif VERBS[verb] is Fate.TOLD:
            self.tell(f"{verb} left out")
        elif verb in self.handlers:
            self.verb = verb
            self.handlers[verb](words[1:])
        elif VERBS[verb] is Fate.PASSED:
            self.emit(verb, words[1:])

    def emit(self, verb: str, words: list[Token], element: str = "") -> None:
        """Pass a command on."""
        text = " ".join([verb, *map(str, words)])
        self.script.commands.append(Command(text, self.where, element))

    # ---- elements --------------------------------------------------------------------------------

    def _assignment(self, words: list[Token]) -> None:
        """``class.name.property=value ...`` edits an element."""
        parts = words[0].name.split(".")
        if len(parts) < 3:
            self.fault("", words[0].name, "expected a command or class.element.property=value")
            return
        target, self.verb = Token("", ".".join(parts[:-1])), "edit"
        self._edit([target, Token(parts[-1], words[0].raw), *words[1:]])

    def _target(self, words: list[Token]) -> tuple[str, str]:
        """(class, name) of ``New`` and ``Edit``, lower case."""
        if not words or words[0].name not in {"", "object"} or "." not in words[0].value:
            self.fault("", "element", "expected class.name")
            return "", ""
        kind, name = words[0].value.lower().split(".", 1)
        if not 0 < len(name) <= MOST_NAME or re.search(r"[\s\"'()\[\]{}=,!]", name):
            reason = f"expected a name of at most {MOST_NAME} characters without blanks, quotes and brackets"
            self.fault(f"{kind}.{name[:MOST_NAME]}", "name", reason)
            return "", ""
        return kind, name

    def _new(self, words: list[Token]) -> None:
        kind, name = self.current = self._target(words)
        if not kind or not self._known(kind, name):
            self._passed_over(kind, name, words[1:])
            return
        element = f"{kind}.{name}"
        places = self.script.places
        if kind == "circuit":
            if any(e.startswith("circuit.") for e in places):
                self.fault(element, "circuit", "a second circuit without Clear before it")
            places["vsource.source"] = self.where
        places.setdefault(element, self.where)
        if len(places) > MOST_ELEMENTS:
            self.fault(element, "elements", f"more than {MOST_ELEMENTS} elements")
            raise _Stop
        self._element("new", element, words[1:], Token("", element))

    def _edit(self, words: list[Token]) -> None:
        kind, name = self.current = self._target(words)
        if not kind or not self._known(kind, name):
            self._passed_over(kind, name, words[1:])
        elif self._exists(f"{kind}.{name}"):
            self._element("edit", f"{kind}.{name}", words[1:], Token("", f"{kind}.{name}"))

    def _more(self, words: list[Token]) -> None:
        kind, name = self.current
        if CLASSES.get(kind) is Fate.PASSED and words:
            self._element("~", f"{kind}.{name}", words)
        else:
            self._passed_over(kind, name, words)

    def _batchedit(self, words: list[Token]) -> None:
        kind, pattern = self._target(words)
        if not kind or not self._known(kind, pattern):
            return
        if not _PATTERN.fullmatch(pattern) or pattern.count("*") > 3:
            self.fault(
                f"{kind}.{pattern}", "batchedit", "a pattern of letters, digits, dots and * is expected"
            )
            return
        self._tell_unmatched(kind, pattern)
        self._element("batchedit", f"{kind}.{pattern}", words[1:], Token("", f"{kind}.{pattern}"))

    def _tell_unmatched(self, kind: str, pattern: str) -> None:
        """A pattern that no name matches changes nothing, which is allowed and worth a note."""
        self.patterns += 1
        if self.patterns > MOST_PATTERNS:
            return
        with suppress(re.error):
            name = re.compile(pattern)
            own = (e[len(kind) + 1 :] for e in self.script.places if e.startswith(f"{kind}."))
            if not any(map(name.search, own)):
                self.tell(f"batchedit {kind}.{pattern} matches no element so far")

    def _known(self, kind: str, name: str) -> bool:
        """Whether elements of a class are passed on; else say what becomes of them."""
        fate = CLASSES.get(kind)
        if fate is Fate.TOLD:
            self.tell(f"{kind} not modelled" + (f" ({MEANING[kind]})" if kind in MEANING else ""))
        elif fate is None:
            self.fault(f"{kind}.{name}", "class", f"{kind!r} cannot be represented: take the element out")
        return fate is Fate.PASSED

    def _exists(self, element: str) -> bool:
        """Whether an element is defined so far: the engine takes changes of others in silence."""
        exists = element in self.script.places or element in BUILT_IN
        if not exists:
            self.fault(element, self.verb, "no such element so far: is the name right?")
        return exists

    def _element(self, verb: str, element: str, words: list[Token], *target: Token) -> None:
        checked = self._properties(element, words)
        if checked is not None:
            self._reserve(element, checked)
            self.emit(verb, [*target, *checked], element)

    def _reserve(self, element: str, words: list[Token]) -> None:
        """Count the points of a shape, or of the one it is made like."""
        if element.split(".", 1)[0] not in FILE_CLASSES:
            return
        for word in words:
            if word.name == "npts":
                points = int(float(word.value))
                self.largest_shape = max(self.largest_shape, points)
            elif word.name == "like":
                points = self.largest_shape
            else:
                continue
            self.points += points
        if self.points > MOST_POINTS:
            self.fault(element, "npts", f"more than {MOST_POINTS} points in all shapes together")
            raise _Stop

    def _properties(self, element: str, words: list[Token]) -> list[Token] | None:
        """The values of an element with files made absolute; None if one is refused."""
        kind = element.split(".", 1)[0]
        checked: list[Token] = []
        at, leading, named = -1, LEADING.get(kind, ()), False
        for place, word in enumerate(words):
            hit = [k for k, n in enumerate(leading) if n.startswith(word.name)] if word.name else [at + 1]
            at = hit[0] if hit else len(leading)
            if word.name == "debugtrace":
                self.tell("debugtrace left out")
                continue
            reason = self._wrong(kind, word, place, named=named)
            named = named or bool(word.name)
            reason = reason or disbelieved(
                kind, word.name or (leading[at] if at < len(leading) else ""), word
            )
            if not reason:
                try:
                    checked.append(self._with_files(kind, word))
                    continue
                except Refused as refused:
                    reason = str(refused)
            self.fault(element, word.name or f"value {place + 1}", reason)
            return None
        return checked

    def _wrong(self, kind: str, word: Token, place: int, *, named: bool) -> str:
        """Why a value is not passed on; empty if it may be."""
        if word.name and not _PROPERTY.fullmatch(word.name):
            return f"{word.name!r} is no property"
        if kind in FILE_CLASSES and word.name not in FILE_CLASSES[kind] | FILE_PROPERTIES:
            return f"{word.name or word.raw[:20]!r} is not allowed here: name the property in full"
        if kind in GUARDED:
            if not word.name and (named or place > MOST_UNNAMED):
                return "name this property"
            if hit := next((p for p in GUARDED[kind] if word.name and p.startswith(word.name)), ""):
                return f"{hit}={word.value} is a program of its own and cannot be represented"
        return ""

    def _with_files(self, kind: str, word: Token) -> Token:
        """A value with the file it reads checked and made absolute."""
        if kind in FILE_CLASSES and word.name in FILE_PROPERTIES:
            return Token(word.name, f'"{self._data(word.value)}"')
        wrong_node = _NEGATIVE_NODE if word.name.startswith("bus") else _BELOW_ZERO
        if (word.name.startswith("bus") or not word.name) and wrong_node.search(word.value):
            raise Refused(f"{word.value!r}: a node is a number from 0 to 99")
        if "=" not in word.value:
            return word
        # The engine takes quotes off names, too: a name is judged by what is inside them.
        inner = list(tokens(word.value))
        names = {t.name for t in inner}
        if not names & _FILE_WORDS or names - _FILE_WORDS - _BESIDE_FILE:
            raise Refused(f"{word.value[:40]!r}: an equals sign may stand here only in file=…")
        sealed = [
            Token(t.name, f'"{self._data(t.value)}"') if t.name in _FILE_WORDS else self._plain(t)
            for t in inner
        ]
        return Token(word.name, f"[{' '.join(map(str, sealed))}]")

    @staticmethod
    def _plain(word: Token) -> Token:
        if not re.fullmatch(r"\w+", word.value):
            raise Refused(f"{word.name}={word.value[:20]!r}: a number or a word is expected")
        return Token(word.name, word.value)

    def _data(self, written: str) -> Path:
        path = self.root.find(written, self.folder)
        if re.search(r"[\"\[\](){}]", str(path)):
            raise Refused(f"{written!r}: a path without quotes and brackets is expected")
        return path

    def _switching(self, words: list[Token]) -> None:
        """``open``, ``close``, ``enable``, ``disable`` of an element."""
        element = words[0].value.lower() if words else ""
        kind = element.split(".", 1)[0]
        if not re.fullmatch(r"\w+\.[^\s\"'()\[\]{}=,!]+", element) or len(words) > 3:
            self.fault(element, self.verb, "expected class.name and at most a terminal and a conductor")
        elif not all(re.fullmatch(r"\d{1,3}", w.value) for w in words[1:]):
            self.fault(element, self.verb, "a terminal and a conductor are numbers")
        elif self._known(kind, element) and self._exists(element):
            self.emit(self.verb, [Token("", element), *[Token("", w.value) for w in words[1:]]], element)

    def _passed_over(self, kind: str, name: str, words: list[Token]) -> None:
        """A switching device is left out, unless it holds its switch open."""
        for word in words if kind in SWITCHING else ():
            held = re.split(r"[\s,]+", word.value.lower())
            if word.name in {"action", "state", "normal"} and any(h[:1] in {"o", "t"} for h in held):
                self.fault(f"{kind}.{name}", word.name, "write open line.<name> 1 for a switch that is open")

    # ---- options and coordinates -----------------------------------------------------------------

    def _set(self, words: list[Token]) -> None:
        for word in words:
            self._option(word)

    def _solve(self, words: list[Token]) -> None:
        """Solving is ours; the options that may stand behind it count."""
        self._set(words)

    def _option(self, word: Token) -> None:
        option = resolve(word.name, OPTIONS) if word.name else None
        value = word.value.lower()
        if option is None:
            asis = {"year": "0", "cktmodel": "multiphase", "loadmodel": "powerflow", "datapath": ""}
            if word.name in asis and asis[word.name].startswith(value):
                return
            self.fault("", word.name or word.value, "unknown or not allowed option: take it out of the file")
        elif OPTIONS[option] is Fate.PASSED:
            reason = "a number or a list of numbers is expected" if "=" in word.value else ""
            if reason := reason or disbelieved("", option, word):
                self.fault("", option, reason)
                return
            self.emit("set", [Token(option, word.raw)])
        elif OPTIONS[option] is Fate.TOLD:
            self.tell(f"option {option} left to the run")

    def _clear(self, words: list[Token]) -> None:
        self.script.places.clear()
        self.script.coordinates.clear()
        self.script.notes.clear()
        self.told.clear()
        self.first.clear()
        self.current = ("", "")
        self.emit("clear", words[:0])

    def _path(self, words: list[Token]) -> Path | None:
        written = words[0].value if words else ""
        try:
            return self.root.find(written, self.folder)
        except Refused as refused:
            self.fault("", self.verb, str(refused))
            return None

    def _redirect(self, words: list[Token]) -> None:
        path = self._path(words)
        if path is not None:
            self.file(path, self.depth + 1)

    def _compile(self, words: list[Token]) -> None:
        """As redirect, but what follows is relative to the compiled file's folder."""
        path = self._path(words)
        if path is not None:
            self.file(path, self.depth + 1)
            self.folder = path.parent

    def _coordinates(self, words: list[Token]) -> None:
        path = self._path(words)
        if path is None:
            return
        latitude_first = self.verb != "buscoords"
        for line in lines(path):
            self.counted()
            values = [t.value for t in tokens(line)]
            if len(values) < 3:
                continue
            try:
                x, y = float(values[1]), float(values[2])
            except ValueError:
                continue
            self.script.coordinates[values[0].lower()] = (y, x) if latitude_first else (x, y)

    def _one_coordinate(self, words: list[Token]) -> None:
        given = {w.name: w.value for w in words}
        try:
            self.script.coordinates[given["bus"].lower()] = (float(given["x"]), float(given["y"]))
        except (KeyError, ValueError):
            self.fault("", "setbusxy", "expected bus=, x= and y=")
