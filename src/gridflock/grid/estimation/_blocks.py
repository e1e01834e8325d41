"""Factor, solution and selected inverse of a sparse symmetric matrix of 4×4 blocks.

The matrix is that of the estimator's optimality conditions: per node two rows for its voltage and
two for its current balance, ``[[N, Jᵀ], [J, −C]]`` with N and C positive semidefinite. A node's block
is regular whenever its J is, and elimination keeps this form, so the pivot is the whole block and
rows are never exchanged between nodes. Only the upper triangle is held: ``off`` has the block (j, r)
of every position j and every later position r of the pattern, and the mirrored block is its transpose.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.units import Rows

Float = NDArray[np.float64]
Blocks = NDArray[np.float64]
"""(k, 4, 4)."""
Long = NDArray[np.int64]


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def find(upper_start: Rows, upper: Rows, j: int, r: int) -> int:
    """Entry of (j, r) in the pattern; -1 where it is not."""
    for e in range(upper_start[j], upper_start[j + 1]):
        if upper[e] == r:
            return e
    return -1


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def targets(upper_start: Rows, upper: Rows) -> tuple[Long, Rows]:
    """Where each elimination step falls: for each position its pairs of later neighbours, first < second.

    Returns:
        int64 (n+1,) first pair of each position, and the entry of each pair.
    """
    n = len(upper_start) - 1
    start = np.zeros(n + 1, dtype=np.int64)
    for j in range(n):
        k = upper_start[j + 1] - upper_start[j]
        start[j + 1] = start[j] + k * (k - 1) // 2
    entry = np.empty(start[n], dtype=np.int32)
    t = 0
    for j in range(n):
        for a in range(upper_start[j], upper_start[j + 1]):
            for b in range(a + 1, upper_start[j + 1]):
                entry[t] = find(upper_start, upper, upper[a], upper[b])
                t += 1
    return start, entry


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _pivot(work: Float, c: int) -> bool:
    """Bring the largest entry of column c below the diagonal to it and scale its row to one."""
    best = c
    for a in range(c + 1, 4):
        if abs(work[a, c]) > abs(work[best, c]):
            best = a
    if not abs(work[best, c]) > 0.0:
        return False
    scale = 1.0 / work[best, c]
    for b in range(8):
        held = work[c, b]
        work[c, b] = scale * work[best, b]
        if best != c:
            work[best, b] = held
    return True


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _invert(block: Float, work: Float) -> bool:
    """Invert a symmetric 4×4 block in place by Gauss-Jordan with row pivots inside the block."""
    for a in range(4):
        for b in range(4):
            work[a, b] = block[a, b]
            work[a, 4 + b] = 1.0 if a == b else 0.0
    for c in range(4):
        if not _pivot(work, c):
            return False
        for a in range(4):
            if a != c:
                f = work[a, c]
                for b in range(8):
                    work[a, b] -= f * work[c, b]
    for a in range(4):
        for b in range(4):
            block[a, b] = 0.5 * (work[a, 4 + b] + work[b, 4 + a])
    return True


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _scale(inverse: Float, block: Float, before: Float) -> None:
    """Keep a block in ``before`` and multiply it by the inverse from the left."""
    for a in range(4):
        for b in range(4):
            before[a, b] = block[a, b]
    for a in range(4):
        for b in range(4):
            block[a, b] = (
                inverse[a, 0] * before[0, b]
                + inverse[a, 1] * before[1, b]
                + inverse[a, 2] * before[2, b]
                + inverse[a, 3] * before[3, b]
            )


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _subtract_transposed_product(into: Float, left: Float, right: Float) -> None:
    for a in range(4):
        for b in range(4):
            into[a, b] -= (
                left[0, a] * right[0, b]
                + left[1, a] * right[1, b]
                + left[2, a] * right[2, b]
                + left[3, a] * right[3, b]
            )


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def eliminate(
    diag: Blocks,
    off: Blocks,
    upper_start: Rows,
    upper: Rows,
    pair_start: Long,
    pair: Rows,
    first: int,
    last: int,
) -> int:
    """Eliminate the positions ``first`` to ``last`` in place.

    Afterwards ``diag`` holds their inverted pivots and ``off`` their rows of the unit upper factor;
    later positions hold what is left of the matrix.

    Returns:
        -1, or the first position whose pivot is singular.
    """
    work = np.empty((4, 8))
    room = 1
    for j in range(len(upper_start) - 1):
        room = max(room, upper_start[j + 1] - upper_start[j])
    before = np.empty((room, 4, 4))
    for j in range(first, last):
        if not _invert(diag[j], work):
            return j
        s = upper_start[j]
        k = upper_start[j + 1] - s
        for a in range(k):
            _scale(diag[j], off[s + a], before[a])
        t = pair_start[j]
        for a in range(k):
            _subtract_transposed_product(diag[upper[s + a]], before[a], off[s + a])
            for b in range(a + 1, k):
                _subtract_transposed_product(off[pair[t]], before[a], off[s + b])
                t += 1
    return -1


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def substitute(x: Float, diag: Blocks, off: Blocks, upper_start: Rows, upper: Rows) -> None:
    """Solve in place for one right side (n, 4) in positions."""
    n = len(diag)
    for j in range(n):
        for e in range(upper_start[j], upper_start[j + 1]):
            r = upper[e]
            for b in range(4):
                x[r, b] -= (
                    off[e, 0, b] * x[j, 0]
                    + off[e, 1, b] * x[j, 1]
                    + off[e, 2, b] * x[j, 2]
                    + off[e, 3, b] * x[j, 3]
                )
    z = np.empty(4)
    for j in range(n - 1, -1, -1):
        for a in range(4):
            z[a] = (
                diag[j, a, 0] * x[j, 0]
                + diag[j, a, 1] * x[j, 1]
                + diag[j, a, 2] * x[j, 2]
                + diag[j, a, 3] * x[j, 3]
            )
        for e in range(upper_start[j], upper_start[j + 1]):
            r = upper[e]
            for a in range(4):
                z[a] -= (
                    off[e, a, 0] * x[r, 0]
                    + off[e, a, 1] * x[r, 1]
                    + off[e, a, 2] * x[r, 2]
                    + off[e, a, 3] * x[r, 3]
                )
        for a in range(4):
            x[j, a] = z[a]


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _subtract_product(into: Float, left: Float, right: Float) -> None:
    for a in range(4):
        for b in range(4):
            into[a, b] -= (
                left[a, 0] * right[0, b]
                + left[a, 1] * right[1, b]
                + left[a, 2] * right[2, b]
                + left[a, 3] * right[3, b]
            )


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _subtract_product_transposed(into: Float, left: Float, right: Float) -> None:
    for a in range(4):
        for b in range(4):
            into[a, b] -= (
                left[a, 0] * right[b, 0]
                + left[a, 1] * right[b, 1]
                + left[a, 2] * right[b, 2]
                + left[a, 3] * right[b, 3]
            )


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def selected_inverse(
    diag: Blocks, off: Blocks, upper_start: Rows, upper: Rows, pair_start: Long, pair: Rows
) -> tuple[Blocks, Blocks]:
    """The blocks of the inverse that lie in the factor's pattern.

    Takahashi, Fagan and Chen, "Formation of a sparse bus impedance matrix and its application to
    short circuit study", PICA 1973: backwards, ``Z_jr = -Σ U_js·Z_sr`` and ``Z_jj = D⁻¹ - Σ U_js·Z_sj``.
    """
    z_diag = diag.copy()
    z_off = np.zeros_like(off)
    for j in range(len(diag) - 1, -1, -1):
        s = upper_start[j]
        k = upper_start[j + 1] - s
        t = pair_start[j]
        for a in range(k):
            _subtract_product(z_off[s + a], off[s + a], z_diag[upper[s + a]])
            for b in range(a + 1, k):
                _subtract_product(z_off[s + b], off[s + a], z_off[pair[t]])
                _subtract_product_transposed(z_off[s + a], off[s + b], z_off[pair[t]])
                t += 1
        for a in range(k):
            _subtract_product_transposed(z_diag[j], off[s + a], z_off[s + a])
    return z_diag, z_off


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def add_couplings(
    diag: Blocks, off: Blocks, upper_start: Rows, upper: Rows, row: Rows, column: Rows, block: Float
) -> None:
    """Add 2×2 blocks of J (k, 4), by rows, at (row, column) in positions."""
    for q in range(len(row)):
        r, c = row[q], column[q]
        if r < c:
            into = off[find(upper_start, upper, r, c)]
        elif r > c:
            into = off[find(upper_start, upper, c, r)]
        else:
            into = diag[r]
        for a in range(2):
            for b in range(2):
                if r <= c:
                    into[2 + a, b] += block[q, 2 * a + b]
                if r >= c:
                    into[b, 2 + a] += block[q, 2 * a + b]


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def add_squares(
    diag: Blocks, off: Blocks, upper_start: Rows, upper: Rows,
    start: Rows, place: Rows, part: Float, weight: Float, shift: int,
) -> None:  # fmt: skip
    """Add ``weight·h·hᵀ`` of sparse vectors h to the voltage rows (shift 0) or the balance rows (shift 2).

    Args:
        diag: blocks (n, 4, 4).
        off: blocks (nnz, 4, 4).
        upper_start: pattern.
        upper: pattern.
        start: (k+1,) first entry of each vector.
        place: position of each entry.
        part: (entries, 2) its real and imaginary part.
        weight: (k,).
        shift: 0 or 2.
    """
    for q in range(len(start) - 1):
        for i in range(start[q], start[q + 1]):
            for j in range(start[q], start[q + 1]):
                p, r = place[i], place[j]
                if p > r:
                    continue
                into = diag[p] if p == r else off[find(upper_start, upper, p, r)]
                for a in range(2):
                    for b in range(2):
                        into[shift + a, shift + b] += weight[q] * part[i, a] * part[j, b]


@njit(cache=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def squares(
    diag: Blocks,
    off: Blocks,
    upper_start: Rows,
    upper: Rows,
    start: Rows,
    place: Rows,
    part: Float,
    shift: int,
) -> Float:
    """(k,) ``hᵀ·Z·h`` of sparse vectors h with a matrix of this pattern; arguments as ``add_squares``."""
    found = np.zeros(len(start) - 1)
    for q in range(len(start) - 1):
        for i in range(start[q], start[q + 1]):
            for j in range(start[q], start[q + 1]):
                p, r = place[i], place[j]
                if p > r:
                    continue
                block = diag[p] if p == r else off[find(upper_start, upper, p, r)]
                times = 1.0 if p == r else 2.0
                for a in range(2):
                    for b in range(2):
                        found[q] += times * block[shift + a, shift + b] * part[i, a] * part[j, b]
    return found
