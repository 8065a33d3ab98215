"""``python -m tests.benchmarks``: measure; the page is written where all ran at full size."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from flows import console
from mrl4rec.core.errors import Mrl4recError
from tests import benchmarks


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurements; 0 where every one of them ran."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    add = parser.add_argument
    text = "one measurement, printed and not written; may be repeated; unset: all of them"
    add("--only", action="append", default=[], metavar="NAME", help=text)
    add("--size", choices=("full", "small"), default="full", help="small: a smoke on planted data")
    add("--data", type=Path, help="where planted data are kept; unset: ~/.cache/mrl4rec/bench")
    add("--authors-code", type=Path, help="a clone of Riwei-HEU/MRL, to be run beside ours")
    add("--out", type=Path, help="page to write; unset: docs/performance.md where all ran")
    add("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what is measured too
    console.start_logging()
    try:
        rows = benchmarks.run(options.only, options.size, options.data, options.authors_code)
    except Mrl4recError as error:
        print(json.dumps({"error": str(error)}) if options.json else error, file=sys.stderr)
        return error.exit_code
    ok = all(row.seconds is not None for row in rows)
    if options.out:
        benchmarks.write_page(rows, options.out)
    elif ok and not options.only and options.size == "full":
        benchmarks.write_page(rows)
    if options.json:
        print(json.dumps({"ok": ok, "rows": [row.as_dict() for row in rows]}, default=str))
    else:
        print(benchmarks.table(rows))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
