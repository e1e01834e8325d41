"""Who is spoken with another way is neither heard nor answered for by the field it was taken out of."""

from importlib.util import find_spec

import numpy as np

from gridflock.model import Outcomes, OutcomeStatus, Readings

IDS = ("pv-1", "bat-1", "pv-2")


class _World:
    """Answers and readings of everybody, as after its orders were lived again."""

    def read(self, now_s):
        n = len(IDS)
        rows = np.arange(n, dtype=np.int32)
        return Readings(
            IDS, rows, np.zeros(n, np.uint8), np.array([1.0, 2.0, 3.0], np.float32),
            np.full(n, now_s, np.int64), np.zeros(n, np.uint8),
        )  # fmt: skip

    def outcomes(self, now_s):
        n = len(IDS)
        refused = np.full(n, OutcomeStatus.REFUSED, np.uint8)
        return Outcomes(
            IDS, np.arange(n, dtype=np.int32), np.arange(7, 7 + n), refused,
            np.array([1.0, 2.0, 3.0], np.float32), np.full(n, now_s, np.int64),
        )  # fmt: skip


def test_others_answer_for_themselves_alone(require):
    """Readings and outcomes of those left out are dropped, whole rows; those of others are as they were."""
    require("httptools", find_spec("httptools") is not None)
    from gridflock.runtime.devices._served import Others

    left = Others(_World(), frozenset({"bat-1"}))
    heard, answers = left.read(60), left.outcomes(60)
    assert [heard.ids[row] for row in heard.index] == ["pv-1", "pv-2"]
    assert heard.value.tolist() == [1.0, 3.0]
    assert [answers.ids[row] for row in answers.index] == ["pv-1", "pv-2"]
    assert answers.order_id.tolist() == [7, 9]
    assert answers.p_kw.tolist() == [1.0, 3.0]
    assert len(answers.status) == len(answers.time_s) == 2
