"""Files, functions and faces stay small enough to be read; every exception has its reason."""

import ast

FILE_LINES = 600
FUNCTION_LINES = 60
FUNCTION_P90 = 30
FACE_NAMES = 12

LONG_FUNCTIONS: dict[str, str] = {
    "src/gridflock/grid/lanes/_kernel.py:run": "one compiled loop: its passes share registers",
}
"""``path:qualified.name`` -> why it may be longer."""

WIDE_FACES = {
    "src/gridflock/model/__init__.py": "the vocabulary of all stages: one noun each",
    "src/gridflock/bench/__init__.py": "one measured subject each",
    "src/gridflock/dispatch/feedback/__init__.py": "what a tick sees and answers: one value for each",
    "src/gridflock/field/ieee2030_5/resources/__init__.py": "the standard's vocabulary: one noun a type",
    "src/gridflock/grid/__init__.py": "each of its verbs answers with a noun of its own",
    "src/gridflock/grid/build/__init__.py": "one part for each kind of element, for three readers",
    "src/gridflock/plan/__init__.py": "plans of groups and devices, and their reasons, each with its value",
    "src/gridflock/plan/direct/__init__.py": "a program, where each of its parts stands, and its chains",
    "src/gridflock/runtime/feeder/__init__.py": "a verb and its value for each command on feeder files",
    "src/gridflock/runtime/__init__.py": "the façade with the errors and authority its callers name",
}


def _lines(node):
    """Length of a function in lines, its docstring not counted."""
    length = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        length -= first.end_lineno - first.lineno + 1
    return length


def _functions(modules):
    return {
        f"{module.name}:{name}": _lines(node)
        for module in modules
        for name, node in module.definitions()
        if not isinstance(node, ast.ClassDef)
    }


def _exported(module):
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return len(ast.literal_eval(node.value))
    return 0


def test_no_file_is_longer_than_600_lines(product, suite):
    """A file fits into one reading."""
    long = {m.name: m.text.count("\n") for m in product + suite if m.text.count("\n") > FILE_LINES}
    assert not long


def test_no_function_is_longer_than_60_lines(product):
    """A function fits onto one screen, docstring not counted; the listed exceptions are still needed."""
    long = {name for name, lines in _functions(product).items() if lines > FUNCTION_LINES}
    assert long == LONG_FUNCTIONS.keys()


def test_nine_functions_of_ten_have_at_most_30_lines(product):
    """Long functions are the exception."""
    lengths = sorted(_functions(product).values())
    assert lengths[len(lengths) * 9 // 10] <= FUNCTION_P90


def test_faces_are_narrow(product):
    """A package exports at most twelve names; the listed wide ones say why and are still wide."""
    faces = {m.name: _exported(m) for m in product if m.name.endswith("/__init__.py")}
    assert {name for name, count in faces.items() if count > FACE_NAMES} == WIDE_FACES.keys(), faces
