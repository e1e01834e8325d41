"""The façade in Python: arguments of a wrong type are refused by field, as they are over HTTP."""

import inspect

import numpy as np
import pytest

from gridflock.runtime import LOCAL, Derms, RequestRejected

HUGE = 10**5_000
"""No float holds it, and Python does not write it out."""


class Untouched(Derms):
    """A façade behind which there is nothing: whoever gets inside fails in another way."""

    def __init__(self):
        """Nothing inside."""


WRONG = [
    ("propose", {"group": "all", "minutes": "5"}, {"minutes"}),
    ("propose", {"group": "all", "p_kw": HUGE, "minutes": True, "why": 3}, {"p_kw", "minutes", "why"}),
    ("propose", {"group": 7, "dry_run": "yes"}, {"group", "dry_run"}),
    ("withdraw", {"proposal_id": None}, {"proposal_id"}),
    ("pursue", {"document": "goals"}, {"document"}),
    ("direct", {"document": [1]}, {"document"}),
    ("define_group", {"group": "few", "members": "cell-1"}, {"members"}),
    ("change_group", {"group": "few", "children": [1, 2]}, {"children"}),
    ("claim", {"group": "all", "kind": "offer", "up_kw": "1"}, {"up_kw"}),
    ("set_mode", {"group": "all", "mode": 2}, {"mode"}),
    ("all_to_default", {"minutes": "5"}, {"minutes"}),
    ("all_to_default", {"minutes": HUGE}, {"minutes"}),
    ("resources", {"group": "all", "limit": "many"}, {"limit"}),
    ("events", {"after": 1.5}, {"after"}),
    ("start_shadow", {"changes": ["feedback"]}, {"changes"}),
]


@pytest.mark.parametrize(("verb", "said", "fields"), WRONG)
def test_a_wrong_type_is_refused_by_field(verb, said, fields):
    """Every wrong argument is named at once, and nothing inside has been asked."""
    with pytest.raises(RequestRejected) as refused:
        getattr(Untouched(), verb)(LOCAL, **said)
    assert {fault.field for fault in refused.value.faults} == fields
    assert all(fault.rule and fault.reason for fault in refused.value.faults)


def test_numbers_of_numpy_and_what_may_be_left_out_are_taken():
    """What counts as a number, a list or nothing gets inside, where there is nothing."""
    for said in (
        {"group": "all", "p_kw": np.float32(1.0), "minutes": np.int64(5)},
        {"group": "all", "p_kw": None, "p_lo_kw": 3, "minutes": 5},
    ):
        with pytest.raises(AttributeError):
            Untouched().propose(LOCAL, **said)
    with pytest.raises(AttributeError):
        Untouched().define_group(LOCAL, "few", members=("a", "b"), place=None)


def test_every_verb_keeps_its_signature():
    """Whoever looks at a verb sees what it takes and reads what it says."""
    assert list(inspect.signature(Derms.all_to_default).parameters) == ["self", "scope", "minutes", "why"]
    assert Derms.propose.__doc__.startswith("Ask a group")
