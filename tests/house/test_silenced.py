"""A silenced checker says why; no file speaks of the machine it was written on."""

import re
from pathlib import Path

NOQA = r"(?:ruff:\s*)?noqa(?::\s*[A-Z]+\d+(?:\s*,\s*[A-Z]+\d+)*)?"
TYPE_IGNORE = r"type:\s*ignore(?:\[[\w\-, ]+\])?"
SILENCE = re.compile(rf"#\s*(?:{NOQA}|{TYPE_IGNORE})")
SEPARATOR = re.compile(r"^[\s\-–:#]*")
MACHINE = re.compile(r"(?<![\w.])/(?:root|work|home|Users)(?:/|\b)")
HOST = re.compile(r"\b(?:pypi\.org|pythonhosted\.org|registry\.npmjs\.org|registry\.yarnpkg\.com)\b")
OTHER_INDEX = re.compile(r"registry = (?!\"https://pypi\.org/simple\")")
LOCKED = {"uv.lock", "web/package-lock.json"}
"""Written by their tools: they name the public indices, and nothing else may."""
BINARY = {".png", ".ico", ".woff2", ".gz", ".parquet", ".npz"}


def _texts(root, tracked):
    for name in tracked:
        if Path(name).suffix not in BINARY:
            yield name, (root / name).read_text("utf-8")


def test_every_silenced_check_gives_its_reason(product):
    """``noqa`` and ``type: ignore`` in the product are followed by why, in words."""
    bare = []
    for module in product:
        for number, line in enumerate(module.text.splitlines(), 1):
            found = SILENCE.search(line)
            if found and not SEPARATOR.sub("", line[found.end() :]):
                bare.append(f"{module.name}:{number}")
    assert not bare


def test_no_file_names_a_machine_path(root, tracked):
    """Nothing depends on where somebody keeps the checkout."""
    found = [
        f"{name}: {line.strip()[:100]}"
        for name, text in _texts(root, tracked)
        for line in text.splitlines()
        if MACHINE.search(line)
    ]
    assert not found


def test_only_lock_files_name_a_registry(root, tracked):
    """The installation's own settings decide where packages come from; a lock names the public index."""
    texts = dict(_texts(root, tracked))
    assert not [name for name, text in texts.items() if name not in LOCKED and HOST.search(text)]
    assert not [name for name in LOCKED if OTHER_INDEX.search(texts.get(name, ""))]
