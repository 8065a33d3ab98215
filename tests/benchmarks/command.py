"""Which measurements there are, and running them one after the other."""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mrl4rec.core.errors import Mrl4recError, UsageError, nearest
from tests.benchmarks.context import DATA, Context
from tests.benchmarks.row import Row

log = logging.getLogger("mrl4rec")

MEASUREMENTS = {
    "epoch": "training:epoch",
    "epoch-growth": "training:growth",
    "lightgcn": "training:lightgcn",
    "epoch-sequences": "sequences:epochs",
    "row": "whole:table_row",
    "ranking": "ranking:ranking",
    "ials": "ials:ials",
    "kcore": "tables:kcore",
    "sequences": "tables:sequences",
    "ingest": "tables:ingest",
    "ingest-other": "tables:ingest_other",
    "spark": "tables:on_spark",
    "refused": "whole:refused",
    "again": "whole:again",
    "planted10m": "whole:planted10m",
    "planted100m": "whole:planted100m",
}
"""Each name and the function in ``rows`` that measures it."""
ONLY_NAMED = ("planted100m",)
"""Half an hour and 20 GB of disk: run where it is named."""


def names() -> tuple[str, ...]:
    """The measurements, in the order in which they run."""
    return tuple(MEASUREMENTS)


def run(
    only: Sequence[str] = (),
    size: str = "full",
    data: Path | None = None,
    authors: Path | None = None,
) -> list[Row]:
    """Measure, all or those named, and answer the rows; each is logged as it comes.

    ``size`` "small" runs the same code on little planted data, as a smoke without targets.
    ``data`` is where planted data are kept from call to call, ``authors`` a clone of the code of
    the paper's authors, which is then run too. A measurement that fails becomes a
    row without seconds that says why, and the others go on. Raises UsageError for an unknown name
    or size.
    """
    for name in only:
        if name not in MEASUREMENTS:
            raise UsageError(
                f"unknown measurement {name!r}", where="--only", todo=nearest(name, MEASUREMENTS)
            )
    rows = []
    with tempfile.TemporaryDirectory(prefix="mrl4rec-bench-") as folder:
        context = Context(size, (data or DATA).absolute(), Path(folder), authors)
        for name in MEASUREMENTS:
            if name not in (only or set(MEASUREMENTS) - set(ONLY_NAMED)):
                continue
            log.info("measuring %s …", name)
            for row in _measured(name, context):
                rows.append(replace(row, target=None) if context.small else row)
                log.info("%s", rows[-1].line())
    return rows


def _measured(name: str, context: Context) -> Iterator[Row]:
    module, _, function = MEASUREMENTS[name].partition(":")
    measure = getattr(importlib.import_module(f"tests.benchmarks.rows.{module}"), function)
    try:
        yield from measure(context)
    except Mrl4recError as error:
        log.error("%s", error)
        yield Row(name, "could not be measured", None, note=" ".join(str(error).split())[:300])
