"""A vector of lanes as a value in compiled code: sixteen float32 or eight float64 side by side.

One ``Vector`` is 64 bytes and lives in registers; LLVM splits it into whatever the processor has, so
the same code runs with AVX-512, AVX2, SSE2 or any other set. Inside a function compiled by numba,
``load`` and ``store`` move one vector from and to a flat array, ``+ - * /`` work lane by lane (also
with a scalar on either side, in the vector's own precision), and the functions below do the rest.
Arithmetic carries LLVM's fast flags except those about infinities and NaN: a product and a sum may fuse,
and what is not a number stays visible.

The width follows from the array's element type; all offsets count elements and must be such that a
vector starts on a 64-byte boundary, except for ``load_anywhere``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.core.datamodel import models, register_default
from numba.core.errors import NumbaError
from numba.core.types import CPointer  # type: ignore[attr-defined] # it is there; numba's types do not say so
from numba.extending import intrinsic, overload

VECTOR_BYTES = 64
FAST = ("reassoc", "nsz", "arcp", "contract", "afn")


class Vector(types.Type):
    """The numba type of one vector of ``count`` lanes of ``element``."""

    def __init__(self, element: types.Float) -> None:
        self.element = element
        self.count = VECTOR_BYTES * 8 // element.bitwidth
        super().__init__(name=f"Vector({element} x {self.count})")


@register_default(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc] # numba carries no annotations
    """In LLVM it is the vector type itself: never in memory unless stored."""

    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        element = dmm.lookup(fe_type.element).get_value_type()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.count))


FLOAT32 = Vector(types.float32)
FLOAT64 = Vector(types.float64)
_OF_ELEMENT = {types.float32: FLOAT32, types.float64: FLOAT64}
_OF_WIDTH = {"float": FLOAT32.count, "double": FLOAT64.count}


def width(dtype: np.dtype[Any] | str) -> int:
    """Lanes in one vector of ``dtype`` (float32: 16, float64: 8)."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


# ---- memory --------------------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator] # numba carries no annotations
def begin(typing: Any, array: Any) -> Any:
    """``begin(array)``: where the elements of a contiguous array begin.

    The array must outlive it. Unlike an array it carries no reference count, whose upkeep inside a
    loop costs more than the arithmetic.
    """
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, value=arguments[0]).data

    return CPointer(array.dtype)(array), generate


@intrinsic  # type: ignore[untyped-decorator] # numba carries no annotations
def after(typing: Any, place: Any, count: Any) -> Any:
    """``after(place, count)``: the place ``count`` elements further."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        where = context.cast(builder, arguments[1], signature.args[1], types.intp)
        return builder.gep(arguments[0], [where])

    return place(place, count), generate


@intrinsic  # type: ignore[untyped-decorator] # numba carries no annotations
def lanes_of(typing: Any, place: Any) -> Any:
    """Lanes in a vector of the elements at ``place``."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del builder, arguments
        return context.get_constant(signature.return_type, _OF_ELEMENT[place.dtype].count)

    return types.intp(place), generate


def _address(builder: Any, place: Any, index: Any) -> Any:
    """LLVM pointer to the vector that starts ``index`` elements from ``place``."""
    element = builder.gep(place, [index])
    lanes = _OF_WIDTH[str(place.type.pointee)]
    return builder.bitcast(element, ir.VectorType(place.type.pointee, lanes).as_pointer())


def _loader(align: int | None) -> Callable[..., Any]:
    def load_at(typing: Any, place: Any, index: Any) -> Any:
        del typing

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            where = context.cast(builder, arguments[1], signature.args[1], types.intp)
            pointer = _address(builder, arguments[0], where)
            return builder.load(pointer, align=align or place.dtype.bitwidth // 8)

        return _OF_ELEMENT[place.dtype](place, index), generate

    return load_at


load = intrinsic(_loader(VECTOR_BYTES))
"""``load(place, index)``: the vector at an aligned offset."""
load_anywhere = intrinsic(_loader(None))
"""``load_anywhere(place, index)``: the vector at any offset."""


@intrinsic  # type: ignore[untyped-decorator] # numba carries no annotations
def pick(typing: Any, place: Any, index: Any) -> Any:
    """``pick(place, index)``: one element; the index is never counted from the end."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        where = context.cast(builder, arguments[1], signature.args[1], types.intp)
        return builder.load(builder.gep(arguments[0], [where]))

    return place.dtype(place, index), generate


def _storer(*, around_cache: bool) -> Callable[..., Any]:
    def store_at(typing: Any, place: Any, index: Any, vector: Any) -> Any:
        del typing

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            where = context.cast(builder, arguments[1], signature.args[1], types.intp)
            pointer = _address(builder, arguments[0], where)
            written = builder.store(arguments[2], pointer, align=VECTOR_BYTES)
            if around_cache:
                one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
                written.set_metadata("nontemporal", one)
            return context.get_dummy_value()

        return types.void(place, index, vector), generate

    return store_at


store = intrinsic(_storer(around_cache=False))
"""``store(place, index, vector)`` at an aligned offset."""
stream = intrinsic(_storer(around_cache=True))
"""``stream(place, index, vector)``: like ``store``, past the cache, for what is not read again soon."""


@intrinsic  # type: ignore[untyped-decorator] # numba carries no annotations
def zeros_like(typing: Any, vector: Any) -> Any:
    """All lanes zero."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del builder, signature, arguments
        return ir.Constant(context.get_value_type(vector), None)

    return vector(vector), generate


@intrinsic  # type: ignore[untyped-decorator] # numba carries no annotations
def splat(typing: Any, like: Any, scalar: Any) -> Any:
    """``splat(like, scalar)``: every lane the scalar, in the precision of the vector ``like``."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        return _splat(context, builder, like, context.cast(builder, arguments[1], scalar, like.element))

    return like(like, scalar), generate


def _splat(context: Any, builder: Any, vector: Vector, value: Any) -> Any:
    kind = context.get_value_type(vector)
    index = ir.IntType(32)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, index(0))
    return builder.shuffle_vector(
        one, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(index, vector.count), None)
    )


# ---- arithmetic ----------------------------------------------------------------------------------


def _vector_of(left: Any, right: Any) -> Vector | None:
    """The vector type of a pair of operands; None where the pair is not ours."""
    vectors = {kind for kind in (left, right) if isinstance(kind, Vector)}
    scalars_fit = all(isinstance(kind, (Vector, types.Number)) for kind in (left, right))
    return vectors.pop() if len(vectors) == 1 and scalars_fit else None


def _operands(context: Any, builder: Any, vector: Vector, kinds: Any, values: Any) -> list[Any]:
    return [
        value
        if kind == vector
        else _splat(context, builder, vector, context.cast(builder, value, kind, vector.element))
        for kind, value in zip(kinds, values, strict=True)
    ]


def _arithmetic(symbol: Callable[..., Any], instruction: str) -> None:
    def lane_by_lane(typing: Any, left: Any, right: Any) -> Any:
        del typing
        vector = _vector_of(left, right)
        if vector is None:
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pair = _operands(context, builder, vector, signature.args, arguments)
            return getattr(builder, instruction)(*pair, flags=FAST)

        return vector(left, right), generate

    apply = intrinsic(lane_by_lane)

    def typed(left: Any, right: Any) -> Any:
        if _vector_of(left, right) is None:
            return None

        def by_lane(left: Any, right: Any) -> Any:
            return apply(left, right)

        return by_lane

    overload(symbol, strict=False)(typed)


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _arithmetic(_symbol, _instruction)


def _chooser(comparison: str) -> Callable[..., Any]:
    def choose(typing: Any, left: Any, right: Any, yes: Any, no: Any) -> Any:
        del typing
        vector = next(kind for kind in (left, right, yes, no) if isinstance(kind, Vector))

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, b, c, d = _operands(context, builder, vector, signature.args, arguments)
            return builder.select(builder.fcmp_ordered(comparison, a, b, flags=FAST), c, d)

        return vector(left, right, yes, no), generate

    return choose


where_less = intrinsic(_chooser("<"))
"""``where_less(a, b, yes, no)``: per lane ``yes`` if a < b else ``no``; no branch."""


def _vector_min(left: Any, right: Any) -> Any:
    if _vector_of(left, right) is None:
        return None
    return lambda left, right: where_less(left, right, left, right)


def _vector_max(left: Any, right: Any) -> Any:
    if _vector_of(left, right) is None:
        return None
    return lambda left, right: where_less(left, right, right, left)


overload(min, strict=False)(_vector_min)
overload(max, strict=False)(_vector_max)


def _unary(name: str) -> Callable[..., Any]:
    def lane_by_lane(typing: Any, vector: Any) -> Any:
        del typing
        if not isinstance(vector, Vector):
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            del signature
            kind = context.get_value_type(vector)
            full_name = f"llvm.{name}.v{vector.count}f{vector.element.bitwidth}"
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(kind, [kind]), full_name
            )
            return builder.call(function, arguments, fastmath=FAST)

        return vector(vector), generate

    return lane_by_lane


root = intrinsic(_unary("sqrt"))
"""Square root per lane."""
size = intrinsic(_unary("fabs"))
"""Absolute value per lane."""


# ---- turning a square of vectors -----------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator] # numba carries no annotations
def transpose(typing: Any, place: Any, start: Any) -> Any:
    """``transpose(place, start)``: turn the square of W vectors of W lanes at ``start`` in place.

    log2(W) rounds of two-register shuffles, all in registers.
    """
    del typing
    vector = _OF_ELEMENT[place.dtype]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count = vector.count
        first = context.cast(builder, arguments[1], signature.args[1], types.intp)
        places = [
            _address(builder, arguments[0], builder.add(first, first.type(count * row)))
            for row in range(count)
        ]
        rows = [builder.load(where, align=VECTOR_BYTES) for where in places]
        half = count // 2
        while half:
            rows = _exchange(builder, rows, half)
            half //= 2
        for where, row in zip(places, rows, strict=True):
            builder.store(row, where, align=VECTOR_BYTES)
        return context.get_dummy_value()

    return types.void(place, start), generate


def _exchange(builder: Any, rows: list[Any], half: int) -> list[Any]:
    """Swap the off-diagonal squares of size ``half`` between rows ``half`` apart."""
    count = len(rows)
    index = ir.VectorType(ir.IntType(32), count)
    upper = [lane if not lane & half else count + (lane ^ half) for lane in range(count)]
    lower = [lane ^ half if not lane & half else count + lane for lane in range(count)]
    turned = list(rows)
    for row in range(count):
        if not row & half:
            pair = rows[row], rows[row ^ half]
            turned[row] = builder.shuffle_vector(*pair, ir.Constant(index, upper))
            turned[row ^ half] = builder.shuffle_vector(*pair, ir.Constant(index, lower))
    return turned


# ---- whether it works ----------------------------------------------------------------------------


@njit  # type: ignore[untyped-decorator] # numba carries no annotations
def _try(numbers: Any) -> None:
    place = begin(numbers)
    vector = load(place, 0)
    store(place, 0, max(root(vector) * vector + 1.0, zeros_like(vector)))


@lru_cache(maxsize=1)
def works() -> bool:
    """Whether vectors can be made here: they lean on inner parts of numba that may change."""
    numbers = np.zeros(2 * VECTOR_BYTES, dtype=np.uint8)
    skip = -numbers.ctypes.data % VECTOR_BYTES
    lanes = numbers[skip : skip + VECTOR_BYTES].view(np.float32)
    lanes[:] = 4.0
    try:
        _try(lanes)
    except (NumbaError, AttributeError, TypeError, ValueError):
        return False
    return bool((lanes == 9.0).all())
