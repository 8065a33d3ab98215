"""Ranking all items for all users who have held-out ones, against implicit and torch."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks import probe
from tests.benchmarks.context import Context, engines
from tests.benchmarks.row import Row, Target
from tests.benchmarks.rows.beside import against

LEVELS = [4, 8, 16, 32, 64]
INTERESTS = 4


def ranking(context: Context) -> Iterator[Row]:
    """The same vectors, trained for a few epochs, for everybody."""
    file = str(context.scratch / "vectors.npz")
    shape, _ = probe.ask(
        "vectors", data=context.training_data(), engine=engines()[0], epochs=6, out=file
    )
    work = f"ranking {shape['users']:,} users × {shape['items']:,} items, metrics at 10, 20, 50"
    one = probe.ask("rank", file=file, widths=None)
    implicit = ("implicit, recommend 50, no metrics", probe.ask("rank-implicit", file=file))
    torch = ("torch, product + mask + topk in chunks", probe.ask("rank-torch", file=file))
    five = probe.ask("rank", file=file, widths=LEVELS)
    yield against("ranking", work, one, implicit, Target("ratio", 1.3))
    yield against("ranking", work, one, torch)
    wide = f"the same at all {len(LEVELS)} widths"
    yield against("ranking", wide, five, ("ours at one width", one), Target("ratio", 2.0))
    several = probe.ask("rank-interests", file=file, interests=INTERESTS)
    each = probe.ask("rank-each-interest", file=file, interests=INTERESTS)
    by = (f"ours, {INTERESTS} models of one vector a user", each)
    work = f"the same with {INTERESTS} vectors a user"
    yield against("ranking", work, several, by, Target("ratio", 1.3))
