"""A sweep of iALS at a narrow and at a wide dimension, against implicit."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks import probe
from tests.benchmarks.context import Context
from tests.benchmarks.row import Row, Target
from tests.benchmarks.rows.beside import against

DIMS = (64, 256)
SWEEPS = 5


def ials(context: Context) -> Iterator[Row]:
    """The same pairs; implicit takes three steps of conjugate gradients, ours solves exactly."""
    asked = {"data": context.training_data(), "sweeps": SWEEPS}
    for dim in DIMS:
        ours = probe.ask("ials", dim=dim, **asked)
        peer = (
            "implicit, 3 conjugate gradient steps",
            probe.ask("ials-implicit", dim=dim, **asked),
        )
        shape = ours[0]
        work = f"iALS sweep, d = {dim}, {shape['users']:,} users × {shape['items']:,} items"
        yield against("ials", work, ours, peer, Target("ratio", 2.0) if dim == DIMS[0] else None)
