"""Bad input to the plan: named as values, and replaced by something safe to plan with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Envelope, Flexibility, Reason, Rejected
from gridflock.plan._terms import Terms
from gridflock.plan.direct._solve import Floats
from gridflock.units import Kw, Mask, Money

_PER_STEP = ("import_price", "export_price", "import_limit_kw", "export_limit_kw")
_MAY_BE_ENDLESS = ("import_limit_kw", "export_limit_kw")
_SCALARS = {"peak_price": 0.0, "peak_so_far_kw": 0.0, "limit_penalty": 10.0, "ramp_penalty": 0.0}


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Input that can be planned with, and what had to be replaced to get there."""

    flexibility: Flexibility
    fixed_kw: Kw
    terms: Terms
    rejected: tuple[Rejected, ...]


def check(flexibility: Flexibility, fixed: Kw, terms: Terms) -> tuple[Rejected, ...]:
    """Everything in the input that breaks a rule, by group and field; empty when all is well.

    Args:
        flexibility: G groups over T steps.
        fixed: (T,) kW of everything that takes no orders, injection positive.
        terms: prices and limits.
    """
    return misshapen(flexibility, fixed, terms) or sound(flexibility, fixed, terms).rejected


def misshapen(flexibility: Flexibility, fixed: Kw, terms: Terms) -> tuple[Rejected, ...]:
    """Arrays that do not fit the grid and the groups: with these nothing can be planned."""
    n, g = flexibility.grid.n, len(flexibility.groups)
    if n < 1:
        return (Rejected("plan", "grid", (), "an empty horizon: at least one step is needed"),)
    wanted: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("base_kw", "up_kw", "down_kw"), (g, n)),
        **dict.fromkeys(("x_lo_kwh", "x_hi_kwh"), (g, n + 1)),
        **dict.fromkeys(("gain_up", "gain_down", "cost_up", "cost_down"), (g,)),
    }
    shapes = {name: np.shape(getattr(flexibility, name)) for name in wanted}
    wanted |= dict.fromkeys(("fixed_kw", *_PER_STEP), (n,))
    shapes |= {name: np.shape(getattr(terms, name)) for name in _PER_STEP} | {"fixed_kw": np.shape(fixed)}
    return tuple(
        Rejected("plan", name, (), f"shape {shapes[name]}, expected {shape}")
        for name, shape in wanted.items()
        if shapes[name] != shape
    )


def sound(flexibility: Flexibility, fixed: Kw, terms: Terms) -> Sound:
    """Replace what is broken: groups rest at base, steps take their neighbours' value."""
    found: list[Rejected] = []
    flexibility = _sound_groups(flexibility, found)
    fixed_kw = _sound_steps("fixed_kw", fixed, np.isfinite(fixed), 0.0, found)
    return Sound(flexibility, fixed_kw, _sound_terms(flexibility, terms, found), tuple(found))


def _group_faults(flexibility: Flexibility) -> list[tuple[str, str, Mask]]:
    """Field, rule and which groups (G,) break it."""
    f = flexibility
    faults = [
        (name, "must be finite", ~np.isfinite(getattr(f, name)).all(axis=-1))
        for name in ("base_kw", "up_kw", "down_kw")
    ]
    faults += [
        (name, "must be finite", ~np.isfinite(getattr(f, name)))
        for name in ("gain_up", "gain_down", "cost_up", "cost_down")
    ]
    faults += [(name, "must be >= 0", (getattr(f, name) < 0).any(axis=-1)) for name in ("up_kw", "down_kw")]
    faults += [
        (name, "must be a number", np.isnan(getattr(f, name)).any(axis=-1))
        for name in ("x_lo_kwh", "x_hi_kwh")
    ]
    faults.append(("x_lo_kwh", "must be <= x_hi_kwh", (f.x_lo_kwh > f.x_hi_kwh).any(axis=-1)))
    return faults


def _sound_groups(flexibility: Flexibility, found: list[Rejected]) -> Flexibility:
    broken = np.zeros(len(flexibility.groups), dtype=bool)
    for name, rule, bad in _group_faults(flexibility):
        broken |= bad
        ids = tuple(g for g, is_bad in zip(flexibility.groups, bad, strict=True) if is_bad)
        if ids:
            found.append(Rejected("group", name, ids[:20], f"{rule}; planned at base", count=len(ids)))
    if not broken.any():
        return flexibility
    rest, row = broken[:, None], broken
    return replace(
        flexibility,
        base_kw=np.where(
            rest, np.nan_to_num(flexibility.base_kw, posinf=0.0, neginf=0.0), flexibility.base_kw
        ),
        up_kw=np.where(rest, 0.0, flexibility.up_kw),
        down_kw=np.where(rest, 0.0, flexibility.down_kw),
        x_lo_kwh=np.where(rest, -np.inf, flexibility.x_lo_kwh),
        x_hi_kwh=np.where(rest, np.inf, flexibility.x_hi_kwh),
        gain_up=np.where(row, 0.0, flexibility.gain_up),
        gain_down=np.where(row, 0.0, flexibility.gain_down),
        cost_up=np.where(row, 0.0, flexibility.cost_up),
        cost_down=np.where(row, 0.0, flexibility.cost_down),
    )


def _sound_steps(name: str, values: Floats, good: Mask, default: float, found: list[Rejected]) -> Floats:
    """The values with broken steps read off the line between their sound neighbours."""
    values = np.asarray(values, dtype=np.float64)
    if good.all():
        return values
    bad = np.flatnonzero(~good)
    rule = f"step {bad[0]} is {values[bad[0]]}; taken from its neighbours"
    found.append(Rejected("plan", name, (), rule, row=int(bad[0]) + 1, count=len(bad)))
    if not good.any():
        return np.full(len(values), default)
    mended = values.copy()
    # Nearest sound step before, or the first sound one: limits may be infinite, so no mixing.
    last = np.maximum.accumulate(np.where(good, np.arange(len(values)), -1))
    mended[bad] = values[np.where(last < 0, int(np.argmax(good)), last)[bad]]
    return mended


def _sound_terms(flexibility: Flexibility, terms: Terms, found: list[Rejected]) -> Terms:
    steps = {}
    for name in _PER_STEP:
        values = np.asarray(getattr(terms, name), dtype=np.float64)
        endless = name in _MAY_BE_ENDLESS
        good = values >= 0 if endless else np.isfinite(values)
        steps[name] = _sound_steps(name, values, good, np.inf if endless else 0.0, found)
    circular = steps["export_price"] > steps["import_price"]
    if circular.any():
        first = int(np.argmax(circular))
        rule = f"above import_price at step {first}; taken as equal to it"
        found.append(Rejected("plan", "export_price", (), rule, row=first + 1, count=int(circular.sum())))
        steps["export_price"] = np.minimum(steps["export_price"], steps["import_price"])
    scalars = {}
    for name, default in _SCALARS.items():
        value = float(getattr(terms, name))
        scalars[name] = value if 0 <= value < np.inf else default
        if scalars[name] != value:
            found.append(
                Rejected("plan", name, (), f"{value} is not a finite number >= 0; taken as {default}")
            )
    return Terms(
        import_price=steps["import_price"],
        export_price=steps["export_price"],
        import_limit_kw=steps["import_limit_kw"],
        export_limit_kw=steps["export_limit_kw"],
        peak_price=scalars["peak_price"],
        peak_so_far_kw=scalars["peak_so_far_kw"],
        limit_penalty=scalars["limit_penalty"],
        ramp_penalty=scalars["ramp_penalty"],
        end_value={group: value for group, value in terms.end_value.items() if np.isfinite(value)},
        group_limits=_sound_limits(flexibility, terms, found),
        premium=_sound_premiums(flexibility, terms, found),
        members=terms.members,
        blocks=terms.blocks,
    )


def _sound_premiums(flexibility: Flexibility, terms: Terms, found: list[Rejected]) -> Mapping[str, Money]:
    """Owners' tariffs that are numbers; a group with another pays as all do."""
    n = flexibility.grid.n
    bad = [g for g, v in terms.premium.items() if np.shape(v) != (n,) or not np.isfinite(v).all()]
    if bad:
        rule = "must be finite, one value per step; left out"
        found.append(Rejected("plan", "premium", tuple(bad[:20]), rule, count=len(bad)))
    return {group: values for group, values in terms.premium.items() if group not in bad}


def _sound_limits(flexibility: Flexibility, terms: Terms, found: list[Rejected]) -> tuple[Envelope, ...]:
    known, kept = set(flexibility.groups), []
    for limit in terms.group_limits:
        strangers = set(terms.members.get(limit.group, (limit.group,))) - known
        if strangers:
            rule = f"names no planned group: {', '.join(sorted(strangers)[:5])}"
            found.append(Rejected("envelope", "group", (limit.group,), f"{rule}; left out"))
        elif not limit.p_lo_kw <= limit.p_hi_kw:
            rule = f"p_lo_kw {limit.p_lo_kw} above p_hi_kw {limit.p_hi_kw}; both kept, one gives way"
            found.append(Rejected("envelope", "p_lo_kw", (limit.group,), rule))
        if limit.p_lo_kw == np.inf or limit.p_hi_kw == -np.inf:
            rule = f"p_lo_kw {limit.p_lo_kw}, p_hi_kw {limit.p_hi_kw}: no power is inside; left out"
            found.append(Rejected("envelope", "p_lo_kw", (limit.group,), rule))
        elif not strangers and not (np.isnan(limit.p_lo_kw) or np.isnan(limit.p_hi_kw)):
            kept.append(limit)
    return tuple(kept)


def told(rejected: tuple[Rejected, ...]) -> tuple[Reason, ...]:
    """Bad input as reasons of a plan."""
    return tuple(
        Reason(f"bad input: {r.component} {', '.join(r.ids)} {r.field} {r.reason}".replace("  ", " "), 0, 0.0)
        for r in rejected
    )
