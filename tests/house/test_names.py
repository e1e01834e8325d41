"""Names say what is inside, and every public thing says what it is."""

import ast
from pathlib import PurePath

EMPTY_WORDS = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}


def _public(name):
    return not any(part.startswith("_") for part in name.split("."))


def _inside_function(module, name):
    functions = {n for n, node in module.definitions() if not isinstance(node, ast.ClassDef)}
    parts = name.split(".")
    return any(".".join(parts[:k]) in functions for k in range(1, len(parts)))


def test_no_module_has_an_empty_name(product, suite):
    """A module is named in the domain's words, never by its role as a drawer."""
    names = [m.name for m in product + suite]
    assert not [n for n in names if EMPTY_WORDS & {p.strip("_") for p in PurePath(n).with_suffix("").parts}]


def test_every_public_thing_has_a_docstring(product):
    """Modules, public classes and public functions say what they are."""
    bare = [m.name for m in product if ast.get_docstring(m.tree) is None]
    bare += [
        f"{m.name}:{name}"
        for m in product
        for name, node in m.definitions()
        if _public(name) and not _inside_function(m, name) and ast.get_docstring(node) is None
    ]
    assert not bare


def test_a_package_tells_its_chapter(product):
    """The docstring of a package's face is a sentence and not a repetition of its name."""
    faces = [m for m in product if m.name.endswith("/__init__.py")]
    assert not [m.name for m in faces if len((ast.get_docstring(m.tree) or "").split()) < 5]


def test_every_test_says_what_must_hold(suite):
    """Each test function has a docstring."""
    bare = [
        f"{m.name}:{name}"
        for m in suite
        for name, node in m.definitions()
        if name.split(".")[-1].startswith("test_") and ast.get_docstring(node) is None
    ]
    assert not bare


def test_test_files_have_unique_names(suite):
    """A test file's name alone tells which one is meant."""
    names = [PurePath(m.name).name for m in suite if PurePath(m.name).name != "conftest.py"]
    assert not {name for name in names if names.count(name) > 1}
