"""What the meters say of the truth: noise, loss, delay, silence."""

from __future__ import annotations

import numpy as np

from gridflock.model import Quality, Readings
from gridflock.schema import QUANTITY
from gridflock.sim._devices import Column, Columns
from gridflock.sim._scenario import Draw, Scenario, draws
from gridflock.units import Codes, Mask, Rows

_VOLT_NOISE = 0.002
_NOISY = {"p_kw", "q_kvar", "p_avail_kw"}
_LATE = ("index", "quantity", "value", "time_s", "arrives_s")
_TYPES = (np.int32, np.uint8, np.float64, np.int64, np.float64)


class Meters:
    """Turns columns of truth into a batch of readings.

    One message per meter and moment carries all its quantities: it is lost or late as a whole.
    What a device does not have at the moment (NaN) is left out of its message.
    """

    def __init__(self, scenario: Scenario, ids: tuple[str, ...], rows: dict[str, Rows], exact: int) -> None:
        """``rows``: which rows of ``ids`` report a quantity, in the order their values will come.

        ``exact``: the last so many ids are SCADA, which loses nothing.
        """
        self._scenario = scenario
        self.ids = ids
        self._exact = exact
        self._names = tuple(rows)
        self._index: Rows = np.concatenate(list(rows.values())).astype(np.int32)
        sizes = [len(part) for part in rows.values()]
        self._quantity: Codes = np.repeat([QUANTITY[name] for name in rows], sizes).astype(np.uint8)
        self._noise = np.repeat(
            [
                scenario.meter_noise if name in _NOISY else _VOLT_NOISE if name == "v_pu" else 0.0
                for name in rows
            ],
            sizes,
        )
        self._late: Columns = {name: np.zeros(0, kind) for name, kind in zip(_LATE, _TYPES, strict=True)}

    def read(self, now_s: int, truth: dict[str, Column] | None, silent: Mask) -> Readings:
        """Readings that have arrived by now: the present ones, and late ones of the past.

        Args:
            now_s: moment of measurement.
            truth: values per quantity in the order of the constructor's rows; None when this
                moment has been read before.
            silent: (len(ids),) meters that do not speak.
        """
        fresh = self._fresh(now_s, truth, silent) if truth is not None else None
        due = self._late["arrives_s"] <= now_s
        old = {name: column[due] for name, column in self._late.items()}
        self._late = {name: column[~due] for name, column in self._late.items()}
        parts = old
        if fresh is not None:
            prompt, late = fresh
            parts = {name: np.concatenate([old[name], prompt[name]]) for name in _LATE}
            self._late = {name: np.concatenate([self._late[name], late[name]]) for name in _LATE}
        return Readings(
            ids=self.ids,
            index=parts["index"],
            quantity=parts["quantity"],
            value=parts["value"],
            time_s=parts["time_s"],
            quality=np.full(len(parts["index"]), Quality.GOOD, np.uint8),
        )

    def _fresh(self, now_s: int, truth: dict[str, Column], silent: Mask) -> tuple[Columns, Columns]:
        scenario, n = self._scenario, len(self.ids)
        rng = draws(scenario.seed, Draw.METER, now_s)
        luck = rng.random(n, dtype=np.float32)
        luck[n - self._exact :] = 1.0
        delay_s = rng.uniform(60.0, 300.0, n)
        noise = rng.standard_normal(len(self._index), dtype=np.float32)
        value = np.concatenate([truth[name] for name in self._names]) * (1.0 + self._noise * noise)
        known = np.isfinite(value)
        spoken = ~((luck < scenario.lost_share) | silent)
        late = (luck >= scenario.lost_share) & (luck < scenario.lost_share + scenario.late_share)
        prompt = (spoken & ~late)[self._index] & known
        slow = (spoken & late)[self._index] & known
        return self._batch(now_s, value, prompt, None), self._batch(now_s, value, slow, now_s + delay_s)

    def _batch(self, now_s: int, value: Column, mask: Mask, arrives_s: Column | None) -> Columns:
        index = self._index[mask]
        return {
            "index": index,
            "quantity": self._quantity[mask],
            "value": value[mask],
            "time_s": np.full(len(index), now_s, np.int64),
            "arrives_s": np.full(len(index), now_s, np.float64) if arrives_s is None else arrives_s[index],
        }

    def state(self) -> Columns:
        """Messages still under way."""
        return dict(self._late)

    def resume(self, state: Columns) -> None:
        """Put a kept state back."""
        self._late = {name: state[name] for name in _LATE}
