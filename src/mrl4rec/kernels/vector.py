"""Inner products and scaled sums of parts of rows, as vector instructions (numba).

The loops below are too short for a compiler to vectorise well by itself (4 to 64 numbers, a length
known only at run time), and they are where training spends its time. Each adds in one fixed order,
so that a result is the same bits whatever the number of threads. Arrays are C-contiguous (rows, d).

Plain numba was slower on AVX-512. An epoch of the fused engine (100,000 pairs, 64 dimensions, one
core) took 18 % longer for MRL-M and 25 % for BPR-D with ``dot`` as a loop with reassociation, whose
bits hang on the machine besides; 2.2 times as long without ``prefetch`` too, which has no plain
form; twice as long with the lanes written out, in the same bits. ``add_scaled`` as a loop made no
difference there, but sums over the edges of a graph took 20 to 50 % longer; with ``add_scaled`` for
each edge they take twice as long as with ``add_edges``, whose sums stay in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8
"""Numbers in a vector register of AVX2 (float32); other machines split or join them."""


def _row(context: Any, builder: Any, kind: Any, array: Any, row: Any) -> Any:
    """Pointer to the first number of a row, or of a list to the number there."""
    struct = context.make_array(kind)(context, builder, array)
    if kind.ndim == 1:
        return builder.gep(struct.data, [row])
    columns = builder.extract_value(struct.shape, 1)
    return builder.gep(struct.data, [builder.mul(row, columns)])


def _for_each(
    builder: Any,
    n: Any,
    body: Callable[[Any, int], None],
    steps: tuple[int, ...] = (LANES, LANES // 2, 1),
) -> None:
    """Emit ``body(place, step)`` for whole steps of 8 numbers, then of 4, then for single ones."""
    begin: Any = n.type(0)
    for step in steps:
        rest = builder.sub(n, begin)
        stop = builder.add(begin, builder.and_(rest, n.type(-step)))
        with cgutils.for_range_slice(builder, begin, stop, n.type(step), n.type) as (place, _):
            body(place, step)
        begin = stop


def _load(builder: Any, number: Any, pointer: Any, place: Any, lanes: int) -> tuple[Any, Any]:
    """``lanes`` numbers at a place, and where they stand; aligned like single numbers."""
    kind = number if lanes == 1 else ir.VectorType(number, lanes)
    address = builder.bitcast(builder.gep(pointer, [place]), ir.PointerType(kind))
    value = builder.load(address)
    value.align = 4 if isinstance(number, ir.FloatType) else 8
    return value, address


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """``a·b + c`` in every lane, one rounding."""
    module = builder.module
    kind = a.type
    single = kind.element if isinstance(kind, ir.VectorType) else kind
    letter = "f32" if isinstance(single, ir.FloatType) else "f64"
    lanes = f"v{kind.count}" if isinstance(kind, ir.VectorType) else ""
    name = f"llvm.fma.{lanes}{letter}"
    function = cgutils.get_or_insert_function(module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [a, b, c])


def _spread(builder: Any, value: Any, lanes: int) -> Any:
    """A number in every lane."""
    if lanes == 1:
        return value
    kind = ir.VectorType(value.type, lanes)
    first = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, first)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(one, one, zeros)


def _folded(builder: Any, vector: Any) -> Any:
    """A vector's lower half plus its upper half."""
    lanes = vector.type.count // 2
    kind = ir.VectorType(ir.IntType(32), lanes)
    low, high = (
        builder.shuffle_vector(vector, vector, ir.Constant(kind, list(range(first, first + lanes))))
        for first in (0, lanes)
    )
    return builder.fadd(low, high)


@intrinsic
def dot(typing_context: Any, a: Any, i: Any, b: Any, j: Any, n: Any) -> Any:
    """Inner product of the first ``n`` numbers of ``a[i]`` and ``b[j]``."""
    signature = a.dtype(a, types.intp, b, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind_a, _, kind_b, _, _ = signature.args
        first, row_a, second, row_b, count = arguments
        number = context.get_value_type(kind_a.dtype)
        left = _row(context, builder, kind_a, first, row_a)
        right = _row(context, builder, kind_b, second, row_b)
        sums = {
            lanes: cgutils.alloca_once_value(
                builder,
                ir.Constant(number, 0.0)
                if lanes == 1
                else ir.Constant(ir.VectorType(number, lanes), [0.0] * lanes),
            )
            for lanes in (LANES, LANES // 2, 1)
        }

        def add(place: Any, lanes: int) -> None:
            x, _ = _load(builder, number, left, place, lanes)
            y, _ = _load(builder, number, right, place, lanes)
            builder.store(_fused(builder, x, y, builder.load(sums[lanes])), sums[lanes])

        for slot in sums.values():  # the slots live in the entry block: clear them here
            builder.store(ir.Constant(slot.type.pointee, None), slot)
        _for_each(builder, count, add)
        eight, four, one = (builder.load(slot) for slot in sums.values())
        two = _folded(builder, builder.fadd(_folded(builder, eight), four))
        total = builder.extract_element(_folded(builder, two), ir.Constant(ir.IntType(32), 0))
        return builder.fadd(total, one)

    return signature, generate


ROWS = 8
"""Rows that ``dots`` takes at once: as many sums as half the registers hold."""


@intrinsic
def dots(
    typing_context: Any, out: Any, o: Any, a: Any, i: Any, b: Any, rows: Any, first: Any, n: Any
) -> Any:
    """``out[o, first + j]`` = inner product of the first ``n`` numbers of ``a[i]`` and
    ``b[rows[o, first + j]]``, for j = 0 … 7.
    """
    intp = types.intp
    signature = types.void(out, intp, a, intp, b, rows, intp, intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind_out, _, kind_a, _, kind_b, kind_rows, _, _ = signature.args
        target, row_out, left, row_a, right, chosen, begin, count = arguments
        number = context.get_value_type(kind_a.dtype)
        source = _row(context, builder, kind_a, left, row_a)
        place = builder.gep(_row(context, builder, kind_rows, chosen, row_out), [begin])
        sums = builder.gep(_row(context, builder, kind_out, target, row_out), [begin])
        others = []
        for j in range(ROWS):
            row = builder.load(builder.gep(place, [ir.Constant(ir.IntType(32), j)]))
            others.append(_row(context, builder, kind_b, right, builder.sext(row, count.type)))
        wide, narrow = (ir.VectorType(number, lanes) for lanes in (LANES, LANES // 2))
        slots = {LANES: _zeros(builder, wide), LANES // 2: _zeros(builder, narrow)}
        single = _zeros(builder, number)

        def add(at: Any, lanes: int) -> None:
            x, _ = _load(builder, number, source, at, lanes)
            for other, slot in zip(others, slots.get(lanes, single), strict=True):
                y, _ = _load(builder, number, other, at, lanes)
                builder.store(_fused(builder, x, y, builder.load(slot)), slot)

        _for_each(builder, count, add)
        fours = [
            builder.fadd(_folded(builder, builder.load(eight)), builder.load(four))
            for eight, four in zip(slots[LANES], slots[LANES // 2], strict=True)
        ]
        while len(fours) > ROWS // 4:
            pairs = zip(fours[::2], fours[1::2], strict=True)
            fours = [_neighbours(builder, low, high) for low, high in pairs]
        for j in range(ROWS):
            lane = ir.Constant(ir.IntType(32), j % 4)
            total = builder.extract_element(fours[j // 4], lane)
            total = builder.fadd(total, builder.load(single[j]))
            builder.store(total, builder.gep(sums, [ir.Constant(ir.IntType(32), j)]))
        return context.get_dummy_value()

    return signature, generate


def _zeros(builder: Any, kind: Any) -> list[Any]:
    """``ROWS`` slots that hold zero; the optimiser turns them into registers."""
    slots = []
    for _ in range(ROWS):
        slot = cgutils.alloca_once(builder, kind)
        builder.store(ir.Constant(kind, None), slot)
        slots.append(slot)
    return slots


def _neighbours(builder: Any, low: Any, high: Any) -> Any:
    """Sums of neighbouring lanes of two vectors of four: (l0+l1, l2+l3, h0+h1, h2+h3)."""
    kind = ir.VectorType(ir.IntType(32), 4)
    even, odd = (
        builder.shuffle_vector(low, high, ir.Constant(kind, lanes))
        for lanes in ([0, 2, 4, 6], [1, 3, 5, 7])
    )
    return builder.fadd(even, odd)


@intrinsic
def prefetch(typing_context: Any, a: Any, i: Any, n: Any) -> Any:
    """Ask for the first ``n`` numbers of ``a[i]``: a hint that changes nothing."""
    signature = types.void(a, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, _, _ = signature.args
        array, row, count = arguments
        pointer = _row(context, builder, kind, array, row)
        byte = ir.PointerType(ir.IntType(8))
        flag = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag]),
            "llvm.prefetch.p0i8",
        )  # fmt: skip
        line = count.type(64 // kind.dtype.bitwidth * 8)
        with cgutils.for_range_slice(builder, count.type(0), count, line, count.type) as (at, _):
            address = builder.bitcast(builder.gep(pointer, [at]), byte)
            builder.call(function, [address, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_scaled(
    typing_context: Any, out: Any, i: Any, factor: Any, b: Any, j: Any, low: Any, high: Any
) -> Any:
    """``out[i, low:high] += factor · b[j, low:high]``, one rounding each."""
    kinds = (out, types.intp, out.dtype, b, types.intp, types.intp, types.intp)
    signature = types.void(*kinds)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind_out, _, _, kind_b, _, _, _ = signature.args
        target, row_out, scale, source, row_b, begin, end = arguments
        number = context.get_value_type(kind_out.dtype)
        left = builder.gep(_row(context, builder, kind_out, target, row_out), [begin])
        right = builder.gep(_row(context, builder, kind_b, source, row_b), [begin])

        def add(place: Any, lanes: int) -> None:
            old, address = _load(builder, number, left, place, lanes)
            y, _ = _load(builder, number, right, place, lanes)
            done = builder.store(_fused(builder, _spread(builder, scale, lanes), y, old), address)
            done.align = 4 if isinstance(number, ir.FloatType) else 8

        _for_each(builder, builder.sub(end, begin), add)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_edges(
    typing_context: Any, out: Any, i: Any, factors: Any, places: Any, rows: Any, tails: Any,
    begin: Any, end: Any,
) -> Any:  # fmt: skip
    """``out[i] += factors[places[e], 0] · rows[tails[e]]`` for e = begin … end − 1 in this order.

    The same bits as ``add_scaled`` for each e; but up to 64 sums stay in registers meanwhile.
    """
    intp = types.intp
    signature = types.void(out, intp, factors, places, rows, tails, intp, intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind_out, _, kind_factors, kind_places, kind_rows, kind_tails, _, _ = signature.args
        target, row, scales, numbers, source, others, first, last = arguments
        number = context.get_value_type(kind_out.dtype)
        left = _row(context, builder, kind_out, target, row)
        shape = context.make_array(kind_out)(context, builder, target).shape
        columns = builder.extract_value(shape, 1)

        def element(kind: Any, array: Any, at: Any) -> Any:
            return builder.load(_row(context, builder, kind, array, at))

        def add(at: Any, step: int) -> None:
            lanes = min(step, LANES)
            starts = [builder.add(at, at.type(low)) for low in range(0, step, lanes)]
            olds = [_load(builder, number, left, start, lanes) for start in starts]
            slots = [cgutils.alloca_once(builder, value.type) for value, _ in olds]
            for slot, (value, _) in zip(slots, olds, strict=True):
                builder.store(value, slot)
            with cgutils.for_range_slice(builder, first, last, at.type(1), at.type) as (edge, _):
                place = element(kind_places, numbers, edge)
                scale = _spread(builder, element(kind_factors, scales, place), lanes)
                right = _row(context, builder, kind_rows, source,
                             element(kind_tails, others, edge))  # fmt: skip
                for slot, start in zip(slots, starts, strict=True):
                    y, _ = _load(builder, number, right, start, lanes)
                    builder.store(_fused(builder, scale, y, builder.load(slot)), slot)
            for slot, (_, address) in zip(slots, olds, strict=True):
                done = builder.store(builder.load(slot), address)
                done.align = 4 if isinstance(number, ir.FloatType) else 8

        _for_each(builder, columns, add, (8 * LANES, LANES, LANES // 2, 1))
        return context.get_dummy_value()

    return signature, generate
