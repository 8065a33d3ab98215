"""``mrl4rec bench``: the benchmarks; their page is written where all of them ran at full size."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Any


def add_options(command: argparse.ArgumentParser) -> None:
    """Which measurements, their size, and where things are kept."""
    add = command.add_argument
    text = "one measurement, printed and not written; may be repeated; unset: all of them"
    add("--only", action="append", default=[], metavar="NAME", help=text)
    add("--size", choices=("full", "small"), default="full", help="small: a smoke on planted data")
    add("--data", metavar="DIR", help="where planted data are kept; unset: ~/.cache/mrl4rec/bench")
    add("--out", metavar="FILE", help="page to write; unset: docs/performance.md where all ran")


def run(arguments: argparse.Namespace) -> Any:
    """Measure; ``ok`` is whether every measurement ran."""
    from mrl4rec import bench

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what is measured too
    data = Path(arguments.data) if arguments.data else None
    rows = bench.run(arguments.only, arguments.size, data)
    ok = all(row.seconds is not None for row in rows)
    whole = not arguments.only and arguments.size == "full" and ok
    if arguments.out:
        bench.write_page(rows, Path(arguments.out))
    elif whole:
        bench.write_page(rows)
    if not arguments.json:
        print(bench.table(rows))
    return {"ok": ok, "rows": [row.as_dict() for row in rows]}
