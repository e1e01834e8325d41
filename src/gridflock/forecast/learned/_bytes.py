"""A trained model as bytes and back: a header in JSON, then arrays; nothing in it is ever executed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.learned._blend import Blend
from gridflock.forecast.learned._forest import Forest, forest_from
from gridflock.forecast.learned._members import Member, Model
from gridflock.forecast.learned._over import Over
from gridflock.forecast.learned._ridge import Ridge
from gridflock.forecast.learned._settings import Settings
from gridflock.forecast.learned._tables import Table
from gridflock.forecast.learned._trained import Trained
from gridflock.forecast.learned._trees import Trees, trees_from

_MAGIC = b"gridflock learned 3\n"
_LENGTH = 8
_PARTS = ("middle", "size", "slope", "slot")
_GROWN = ("grid", "first", "spread")
_TYPES = ("<f8", "<i8")


class NotTrained(ValueError):  # noqa: N818 - what is wrong with the bytes
    """These bytes are no trained model of this version."""


class _Arrays:
    """Arrays put one after the other, told apart by their number."""

    def __init__(self) -> None:
        self.described: list[tuple[str, list[int]]] = []
        self.parts: list[bytes] = []

    def put(self, array: NDArray[Any]) -> int:
        kind = _TYPES[1] if array.dtype.kind == "i" else _TYPES[0]
        self.described.append((kind, list(array.shape)))
        self.parts.append(np.ascontiguousarray(array, dtype=kind).tobytes())
        return len(self.parts) - 1


def to_bytes(trained: Trained) -> bytes:
    """All there is to a trained model; the same model gives the same bytes."""
    arrays = _Arrays()
    header = _model_of(trained, arrays)
    header["arrays"] = arrays.described
    text = json.dumps(header, sort_keys=True).encode()
    return b"".join([_MAGIC, len(text).to_bytes(_LENGTH, "little"), text, *arrays.parts])


def _model_of(trained: Trained, arrays: _Arrays) -> dict[str, Any]:
    return {
        "settings": asdict(trained.settings),
        "step_s": trained.step_s,
        "trained_s": trained.trained_s,
        "leads": arrays.put(trained.leads),
        "members": [_member(member, arrays) for member in trained.members],
        "blend": trained.blend and [arrays.put(trained.blend.weight), arrays.put(trained.blend.shift)],
        "needs": trained.needs,
        "blind": trained.blind and _model_of(trained.blind, arrays),
        "young": trained.young and _model_of(trained.young, arrays),
        "usual_kw": None if np.isnan(trained.usual_kw) else trained.usual_kw,
        "few_days": trained.few_days,
        "each": [[name, _model_of(model, arrays)] for name, model in trained.each],
    }


def _member(member: Member, arrays: _Arrays) -> dict[str, Any]:
    table = member.table and [arrays.put(member.table.border), arrays.put(member.table.error)]
    return {"model": _model(member.model, arrays), "table": table}


def _model(model: Model, arrays: _Arrays) -> dict[str, Any]:
    if isinstance(model, Over):
        return {"kind": "over", "base": _model(model.base, arrays), "rest": _model(model.rest, arrays)}
    if isinstance(model, Trees):
        return {"kind": "trees", "levels": model.levels, "models": model.models}
    if isinstance(model, Forest):
        kept = {name: arrays.put(getattr(model, name)) for name in _GROWN}
        return {"kind": "forest", "model": model.model, **kept}
    held = {name: arrays.put(getattr(model, name)) for name in _PARTS}
    return {"kind": "ridge", "hour": model.hour, "day_type": model.day_type, **held}


def from_bytes(data: bytes) -> Trained:
    """The model that ``to_bytes`` was given.

    Raises:
        NotTrained: other bytes, cut off or of another version.
    """
    if not data.startswith(_MAGIC):
        raise NotTrained("not a trained model of this version")
    try:
        return _read(data[len(_MAGIC) :])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise NotTrained(f"a trained model that cannot be read: {error}") from error


def _read(data: bytes) -> Trained:
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    header = json.loads(data[_LENGTH:end])
    arrays, at = [], end
    for kind, shape in header["arrays"]:
        count = int(np.prod(shape, dtype=np.int64))
        if kind not in _TYPES or at + 8 * count > len(data):
            raise ValueError("cut off")
        arrays.append(np.frombuffer(data, kind, count, at).reshape(shape).copy())
        at += 8 * count
    return _trained(header, arrays)


def _trained(header: dict[str, Any], arrays: list[NDArray[Any]]) -> Trained:
    fields: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in header["settings"].items()
    }
    blend = header["blend"] and Blend(*(arrays[k] for k in header["blend"]))
    members = tuple(_remember(row, arrays) for row in header["members"])
    leads = arrays[header["leads"]].astype(np.int64)
    blind, young = (header[name] and _trained(header[name], arrays) for name in ("blind", "young"))
    usual = np.nan if header["usual_kw"] is None else float(header["usual_kw"])
    each = tuple((name, _trained(model, arrays)) for name, model in header["each"])
    needs = tuple(header["needs"])
    return Trained(
        Settings(**fields), header["step_s"], leads, members, blend, header["trained_s"], needs,
        blind, young, usual, float(header["few_days"]), each,
    )  # fmt: skip


def _remember(row: dict[str, Any], arrays: list[NDArray[Any]]) -> Member:
    table = row["table"] and Table(*(arrays[k] for k in row["table"]))
    return Member(_known(row["model"], arrays), table)


def _known(row: dict[str, Any], arrays: list[NDArray[Any]]) -> Model:
    kind = row["kind"]
    if kind == "over":
        return Over(_ridge(row["base"], arrays), _trees(row["rest"]))
    if kind == "trees":
        return _trees(row)
    if kind == "forest":
        return forest_from(row["model"], *(arrays[row[name]] for name in _GROWN))
    return _ridge(row, arrays)


def _trees(row: dict[str, Any]) -> Trees:
    return trees_from(tuple(row["levels"]), tuple(tuple(group) for group in row["models"]))


def _ridge(row: dict[str, Any], arrays: list[NDArray[Any]]) -> Ridge:
    return Ridge(row["hour"], row["day_type"], *(arrays[row[name]] for name in _PARTS))
